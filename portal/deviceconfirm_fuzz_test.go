package portal

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

// FuzzLocalWish wants whatever is read to lead to 127.0.0.1 and nowhere else.
func FuzzLocalWish(f *testing.F) {
	f.Add(`{"key":"` + strings.Repeat("a1", 32) + `","challenge":"` + strings.Repeat("C", 43) + `","state":"` + strings.Repeat("S", 43) + `","port":45678,"name":"x"}`)
	f.Add(`{"port":"1@evil"}`)
	f.Fuzz(func(t *testing.T, text string) {
		wish, err := readLocalWish(base64.RawURLEncoding.EncodeToString([]byte(text)))
		if err != nil {
			if wish != (localWish{}) {
				t.Errorf("a refused wish says %+v", wish)
			}
			return
		}
		at, err := url.Parse(wish.answer("code", "x"))
		if err != nil || at.Hostname() != "127.0.0.1" || at.Query().Get("state") != wish.State {
			t.Errorf("%+v leads to %v, %v", wish, at, err)
		}
	})
}

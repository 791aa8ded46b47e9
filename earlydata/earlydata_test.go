package earlydata_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/portcullis-mfa/portcullis/earlydata"
)

func TestCarried(t *testing.T) {
	begun, whole := &tls.ConnectionState{}, &tls.ConnectionState{HandshakeComplete: true}
	for name, test := range map[string]struct {
		state  *tls.ConnectionState
		values []string
		want   bool
	}{
		"after the handshake":     {whole, nil, false},
		"before its end":          {begun, nil, true},
		"without TLS":             {nil, nil, false},
		"as a proxy says":         {nil, []string{"1"}, true},
		"as a proxy says, by TLS": {whole, []string{"1"}, true},
		"several values":          {whole, []string{"0", "1"}, true},
		"an invalid value":        {whole, []string{" 1, 1"}, true},
		"an empty value":          {whole, []string{""}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}, TLS: test.state}
			if test.values != nil {
				r.Header["Early-Data"] = test.values
			}
			if got := earlydata.Carried(r); got != test.want {
				t.Errorf("it is %t, not %t", got, test.want)
			}
		})
	}
}

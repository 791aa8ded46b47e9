package authenticator

import (
	"encoding/binary"
	"net/http"
	"time"
)

// nonceLifetime is how long a nonce is good for.
const nonceLifetime = 2 * time.Minute

// nonce hands out a nonce. It is a signed time, so nothing has to be kept of it.
func (a *API) nonce(w http.ResponseWriter, r *http.Request) {
	now := a.Clock()
	made, err := a.Nonces.Encode(binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())))
	a.reply(w, r, struct {
		Nonce string `json:"nonce"`
		Time  int64  `json:"time"`
		Key   string `json:"vapid"`
	}{made, now.Unix(), a.Key}, err)
}

func (a *API) isFresh(nonce string) bool {
	raw, err := a.Nonces.Decode(nonce)
	if err != nil || len(raw) != 8 {
		return false
	}
	age := a.Clock().Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(raw))))
	return age > -nonceLifetime && age < nonceLifetime // nodes' clocks may differ
}

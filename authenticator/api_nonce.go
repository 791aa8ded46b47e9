package authenticator

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/factors/push/message"
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
		Data  string `json:"data"`
	}{made, now.Unix(), a.Key, a.data()}, err)
}

// data identifies the server's data. A server that was restored from a backup doesn't know
// the phones that were added since, and can't tell them from removed ones. Apps can: they
// keep their keys if this has changed, so that another restore brings the phones back.
func (a *API) data() string {
	sum := sha256.Sum256([]byte("data\x00" + a.Incarnation()))
	return message.Encode(sum[:8])
}

func (a *API) isFresh(nonce string) bool {
	raw, err := a.Nonces.Decode(nonce)
	if err != nil || len(raw) != 8 {
		return false
	}
	age := a.Clock().Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(raw))))
	return age > -nonceLifetime && age < nonceLifetime // nodes' clocks may differ
}

package authenticator

import (
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
	"github.com/portcullis-mfa/portcullis/stream"
)

// fullWait is how long a phone is to wait that has too many streams open.
const fullWait = 10 * time.Second

// listen streams a line whenever a list may have something new.
func (a *API) listen(w http.ResponseWriter, r *http.Request) {
	c, err := a.receive(w, r, message.Listen)
	if err == nil && c.signed.Read(new(message.PlainClaims)) != nil {
		err = failed(push.FailedMalformed)
	}
	if err != nil {
		a.reply(w, r, nil, err)
		return
	}
	companion, _, err := a.phone(r.Context(), c)
	if err != nil {
		a.reply(w, r, nil, err)
		return
	}
	leave, ok := a.Streams.Enter(companion.Credential.ID)
	if !ok {
		a.reply(w, r, nil, &problem{status: http.StatusTooManyRequests, reply: push.Reply{Failure: failedSlow}, retryAfter: fullWait})
		return
	}
	defer leave()
	heard, stop := a.Bell.Listen(companion.Who.UserID)
	defer stop()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	line := "listening\n"
	stream.Serve(w, r, stream.Source{Heard: heard, Ending: a.Ending}, func() (string, bool) {
		said := line
		line = "changed\n"
		return said, true
	})
}

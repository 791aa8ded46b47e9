package authenticator

import (
	"io"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
)

const (
	// streamed is how long a stream lasts at most.
	streamed = 50 * time.Second
	// lookout is how often a stream looks whether the server is about to end.
	lookout = time.Second
)

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
	heard, stop := a.Bell.Listen(companion.Who.UserID)
	defer stop()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	line := func(text string) error {
		if _, err := io.WriteString(w, text+"\n"); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	}
	if line("listening") != nil {
		return
	}
	over, ticker := time.NewTimer(streamed), time.NewTicker(lookout)
	defer over.Stop()
	defer ticker.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-over.C:
			return
		case <-ticker.C:
			if a.Ending() {
				return
			}
		case <-heard:
			if line("changed") != nil {
				return
			}
		}
	}
}

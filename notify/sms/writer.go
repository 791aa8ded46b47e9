package sms

import (
	"context"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/templates"
)

// Pages write text messages.
type Pages interface {
	// ShortMessages returns versions of a message, the most informative one first.
	ShortMessages(language string, view any) ([]string, error)
}

// Writer writes letters as text messages.
type Writer struct {
	Pages Pages
	Frame templates.MailFrame
	// Domain is the host whose pages browsers may fill the code in on.
	Domain  string
	Gateway interface {
		Send(ctx context.Context, m Message) (answer string, err error)
	}
}

// Charged says that each message costs money; see notify.Charged.
func (w *Writer) Charged() {}

// Write writes a letter and hands it over; see Gateway.Send.
func (w *Writer) Write(ctx context.Context, id string, letter factors.Letter) (answer string, err error) {
	content := letter.Content
	if framed, ok := content.(interface {
		Framed(templates.MailFrame) any
	}); ok {
		content = framed.Framed(w.Frame)
	}
	versions, err := w.Pages.ShortMessages(letter.Language, content)
	if err != nil {
		return "", fmt.Errorf("writing a text message: %w", err)
	}
	for _, text := range versions {
		if code, ok := content.(templates.CodeMail); ok {
			text += LastLine(w.Domain, code.Code)
		}
		if FitsOneSegment(text) {
			return w.Gateway.Send(ctx, Message{ID: id, To: letter.To, Text: text})
		}
	}
	return "", &notify.Failure{Code: "content", Permanent: true, Err: errors.New("no version of the text fits into one text message")}
}

// LastLine binds a code to a host: browsers fill it in on that host's pages only
// (Origin-bound one-time codes delivered via SMS, §3).
func LastLine(domain, code string) string { return "\n\n@" + domain + " #" + code }

package notice

import (
	"testing"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// TestEveryEventIsDecidedOn wants each event to give a notice or to be named as giving
// none, and each notice to have its text.
func TestEveryEventIsDecidedOn(t *testing.T) {
	pages, err := templates.New(templates.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range audit.Catalogue() {
		_, gives := classes[name]
		_, isSilent := silent[name]
		if gives == isSilent {
			t.Errorf("the event %s gives a notice: %t, and none: %t; put it into one of the tables", name, gives, isSilent)
		}
		h, ok := happeningOf(store.Event{Name: string(name), UserID: "u1", Fields: map[string]string{"factor": "totp", "changed": "email"}})
		if ok != gives {
			t.Errorf("the event %s gives a notice: %t", name, ok)
		}
		if !gives || name == audit.SignInSucceeded || name == audit.StepUpSucceeded {
			continue
		}
		for _, language := range pages.Languages() {
			if key := h.Text; (words{pages, language.Tag}).what(h) == key {
				t.Errorf("there is no text %s in the language %s", key, language.Tag)
			}
		}
	}
}

package portal_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/portal"
)

// TestRelatedOrigins fetches the document as browsers do, without cookies.
func TestRelatedOrigins(t *testing.T) {
	h := newHall(t)
	if r := h.send(http.MethodGet, "/.well-known/webauthn", nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("without related origins: %d", r.StatusCode)
	}
	settings := h.Settings
	settings.RelatedOrigins = []byte(`{"origins":["https://login.example.org"]}`)
	h.Portal = portal.New(settings)
	r := h.send(http.MethodGet, "/.well-known/webauthn", nil)
	if body := h.page(r); r.StatusCode != http.StatusOK || !strings.HasSuffix(body, "\r\n"+string(settings.RelatedOrigins)) {
		t.Errorf("%d, %s", r.StatusCode, body)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("as %s", got)
	}
	if r := h.send(http.MethodPost, "/.well-known/webauthn", nil); r.StatusCode == http.StatusOK {
		t.Errorf("posted to: %d", r.StatusCode)
	}
}

// TestKeysAreTold holds what the account page says of each key.
func TestKeysAreTold(t *testing.T) {
	h := atHome(t)
	usb := []string{"usb", "nfc"}
	h.accounts.held = append(h.accounts.held,
		credentials.Own{ID: "k1", Kind: assurance.FIDO, Daily: true, Name: "Red key", Details: factors.Details{Form: "security_key", Model: "YubiKey 5 with NFC", By: usb}},
		credentials.Own{ID: "k2", Kind: assurance.FIDO, Daily: true, Name: "iCloud Keychain 2", Details: factors.Details{Form: "synced_passkey", Model: "iCloud Keychain"}},
		credentials.Own{ID: "k4", Kind: assurance.FIDO, Daily: true, Name: "Green key", Details: factors.Details{Form: "security_key", Picture: "data:image/png;base64,iVBORw0KGgo="}},
		credentials.Own{ID: "k3", Kind: assurance.FIDO, Daily: true, Name: "Laptop", Details: factors.Details{Form: "device_passkey"}, Realm: "old.example.com", Elsewhere: true},
	)
	page := h.page(h.send(http.MethodGet, "/account/fido", nil))
	for _, want := range []string{
		`#icon-security_key"`, "YubiKey 5 with NFC · Security key · USB, NFC</bdi></p>",
		`<img src="data:image/png;base64,iVBORw0KGgo=" alt="" width="24" height="24"><span><bdi>Green key</bdi></span>`,
		`#icon-synced_passkey"`, `<p class="state"><bdi>Synced passkey</bdi></p>`,
		`#icon-device_passkey"`, `bound to old.example.com,`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page doesn't hold %s", want)
		}
	}
	if n := strings.Count(page, "s bound to"); n != 1 {
		t.Errorf("%d keys are said to work elsewhere", n)
	}
	if page := h.page(h.send(http.MethodGet, "/account", nil)); !strings.Contains(page, "3 set up") {
		t.Error("not the three keys that work here are counted")
	}
}

// TestBarredKeys holds the words for keys that aren't let in.
func TestBarredKeys(t *testing.T) {
	h := atHome(t)
	h.flows.step = authflow.Step{Kind: authflow.StepEnrol, Factor: assurance.FIDO}
	h.send(http.MethodPost, "/account/fido/add", nil)
	h.flows.flow = authflow.Flow{ID: "add fido", Kind: authflow.Enrol, UserID: "ada", Return: "/account/fido"}
	form := map[string][]string{"flow": {"add fido"}, "factor": {"fido"}, "credential": {"{}"}}
	for _, reason := range []factors.Reason{
		factors.Unattested, factors.Unproven, factors.Unlisted, factors.Disallowed, factors.Withdrawn, factors.Uncertified,
	} {
		for model, want := range map[string]string{"": "This kind of key isn&#39;t allowed here", "YubiKey 5": "YubiKey 5 isn&#39;t allowed here"} {
			h.flows.refusal = &factors.Refused{Reason: reason, Model: model, Credential: "of-no-use"}
			r := h.send(http.MethodPost, "/flow/enrol", form)
			if page := h.page(r); r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(page, want) || !strings.Contains(page, `data-unknown="of-no-use"`) {
				t.Errorf("%s of %q: %d, %s", reason, model, r.StatusCode, page)
			}
		}
	}
}

package portal_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/store"
)

func TestDevicesAreListed(t *testing.T) {
	h := atHome(t)
	page := h.page(h.send(http.MethodGet, "/account/devices", nil))
	for _, want := range []string{"Laptop", "Serial number 0badcafe", "Tablet of &lt;b&gt;Ada&lt;/b&gt;", `href="/account/devices/revoke?id=d2"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page doesn't show %q", want)
		}
	}
	if overview := h.page(h.send(http.MethodGet, "/account", nil)); !strings.Contains(overview, "2 with a certificate") {
		t.Error("the first page doesn't lead to the devices")
	}
	if page := h.page(h.send(http.MethodGet, "/account/devices", nil)); strings.Contains(page, "was revoked") {
		t.Error("the page says of some device that it was revoked")
	}
	h.Withdrawn = func(d store.Device) bool { return d.Name == "Laptop" }
	h.Portal = portal.New(h.Settings)
	if page := h.page(h.send(http.MethodGet, "/account/devices", nil)); strings.Count(page, "was revoked") != 1 {
		t.Error("the page doesn't say of one device that it was revoked")
	}
	h.accounts.devices = nil
	if page := h.page(h.send(http.MethodGet, "/account/devices", nil)); !strings.Contains(page, "have any devices with a certificate.") {
		t.Error("the page doesn't say that there is none")
	}
	if overview := h.page(h.send(http.MethodGet, "/account", nil)); strings.Contains(overview, "with a certificate") {
		t.Error("the first page speaks of devices that aren't there")
	}
}

func TestW03OthersDevicesAreNotThere(t *testing.T) {
	h := atHome(t)
	for _, id := range []string{"", "d9", "c1"} {
		if r := h.send(http.MethodGet, "/account/devices/revoke?id="+url.QueryEscape(id), nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("asking about %q: %d", id, r.StatusCode)
		}
	}
	h.accounts.refusal = person.ErrNoDevice
	if r := h.send(http.MethodPost, "/account/devices/revoke", url.Values{"id": {"d9"}}); r.StatusCode != http.StatusNotFound {
		t.Errorf("somebody else's device: %d", r.StatusCode)
	}
}

func TestRevocationListIsServed(t *testing.T) {
	h := newHall(t)
	const path = "/.well-known/mfa/devices.crl"
	list, failure := []byte("list"), error(nil)
	if r := h.send(http.MethodGet, path, nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("where none is issued: %d", r.StatusCode)
	}
	h.RevocationList = func(context.Context) ([]byte, error) { return list, failure }
	h.Portal = portal.New(h.Settings)
	r := h.send(http.MethodGet, path, nil)
	if body := h.page(r); r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/pkix-crl" || !strings.HasSuffix(body, "\r\n\r\nlist") {
		t.Errorf("%d, %v, %q", r.StatusCode, r.Header, body)
	}
	failure = errors.New("broken")
	if r := h.send(http.MethodGet, path, nil); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a list that can't be made: %d", r.StatusCode)
	}
}

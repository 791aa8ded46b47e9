package caddymodule

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/test/pager"
)

func init() {
	makers = append([]maker{makePager}, makers...)
	newOutbox = func(*service, *App) authflow.Outbox { return &beeps }
	caddy.RegisterModule(pagers{})
}

func makePager(*App, *identity.Hasher) (choice, error) {
	return choice{factor: pager.Factor{Clock: time.Now, Rest: time.Second}}, nil
}

// beeps are the references of the questions about which messages were sent.
var beeps sentBeeps

type sentBeeps struct {
	mu   sync.Mutex
	refs []string
}

func (b *sentBeeps) Queue(_ context.Context, _ store.Tx, q ceremony.Question) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refs = append(b.refs, q.Ref)
	return nil
}

func (b *sentBeeps) Wake() {}

func (b *sentBeeps) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.refs...)
}

// pagers is what the owners of pagers have in their hands, at Caddy's admin
// endpoint.
type pagers struct{}

func (pagers) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.pagers", New: func() caddy.Module { return pagers{} }}
}

func (p pagers) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/pagers", Handler: caddy.AdminHandlerFunc(p.serve)}}
}

// serve tells which messages were sent, or says something at a pager.
func (pagers) serve(w http.ResponseWriter, r *http.Request) error {
	app, err := caddy.ActiveContext().AppIfConfigured("mfa")
	if err != nil {
		return err
	}
	flows := app.(*App).service.Load().flows
	if r.Method == http.MethodGet {
		return json.NewEncoder(w).Encode(beeps.sent())
	}
	var said struct{ Ref, Message string }
	if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
		return err
	}
	reply, err := flows.Resolve(r.Context(), pager.Kind, said.Ref, []byte(said.Message))
	if err == nil {
		_, err = w.Write(reply)
	}
	return err
}

package caddymodule

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/gate"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

// inForce is the app of the configuration in force, once it is known to be; nil:
// there is none.
var inForce atomic.Pointer[App]

// starts counts the apps that were started, which gives them an order.
var starts atomic.Uint64

// askIfInForce is how often it is asked whether a configuration is in force.
const askIfInForce = 20 * time.Millisecond

// comeIntoForce waits for the configuration to be in force, and then has what is
// open decided on by its rules. Caddy tells nobody: an app that has started may
// still be given up for another one that can't, and then nothing has changed.
func (a *App) comeIntoForce(ctx context.Context) {
	ticker := time.NewTicker(askIfInForce)
	defer ticker.Stop()
	for !a.isInForce() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
	inForce.Store(a)
	nodes.Range(func(_, value any) bool {
		if n, ok := value.(*node); ok {
			n.keeper.RulesChanged()
		}
		return true
	})
}

func (a *App) isInForce() bool {
	active, err := caddy.ActiveContext().AppIfConfigured("mfa")
	return err == nil && active == caddy.App(a)
}

// succession implements gate.Succession.
type succession struct{ gate *Gate }

// Replaced implements gate.Succession.
func (s succession) Replaced() bool {
	current := inForce.Load()
	return current != nil && current.order > s.gate.app.order
}

// Successor implements gate.Succession.
func (s succession) Successor(r *http.Request, origin string) (*gate.Gate, *http.Request) {
	successor := s.gate
	if s.Replaced() {
		successor = inForce.Load().guardOf(r, origin)
	}
	if successor == nil {
		return nil, nil
	}
	return successor.serving.Load(), caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, successor.server)
}

// guardOf returns the gate that guards an origin at the port to which a request
// came, or else, where it is one alone, at any port.
func (a *App) guardOf(r *http.Request, origin string) *Gate {
	name, port, err := canonical.Host(r.Host)
	if err != nil {
		return nil
	}
	var here, anywhere []*Gate
	for _, g := range a.gates {
		at := a.layout.Gates[g]
		if own, ok := at.Site.Origin(name, port); !ok || own != origin || at.ErrorRoute {
			continue
		}
		anywhere = append(anywhere, g)
		if slices.Contains(at.Site.Ports, localPort(r)) {
			here = append(here, g)
		}
	}
	switch {
	case len(here) == 1:
		return here[0]
	case len(anywhere) == 1:
		return anywhere[0]
	}
	return nil
}

// localPort is the port to which a request came; empty: it came by no port.
func localPort(r *http.Request) string {
	address, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch at := address.(type) {
	case *net.TCPAddr:
		return strconv.Itoa(at.Port)
	case *net.UDPAddr:
		return strconv.Itoa(at.Port)
	}
	return ""
}

// Interface guards
var _ gate.Succession = succession{}

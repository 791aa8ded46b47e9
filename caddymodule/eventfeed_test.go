package caddymodule

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-mfa/portcullis/store"
)

// heard is a handler of the operator's that waits to be let go on.
type heard struct {
	events chan caddy.Event
	goOn   chan struct{}
}

func (h heard) Handle(_ context.Context, e caddy.Event) error {
	h.events <- e
	<-h.goOn
	return nil
}

// TestEventsReachCaddysEventsApp tells of audit events while a handler hangs:
// whoever causes them doesn't wait.
func TestEventsReachCaddysEventsApp(t *testing.T) {
	raw, err := adapt("{\n\tmfa {\n\t\tportal http://login.localhost\n\t}\n}\nhttp://login.localhost {\n\tmfa_portal\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	err = provisioned(t, raw, func(app *App) error {
		feed, err := newEventFeed(app)
		if err != nil {
			return err
		}
		slow := heard{make(chan caddy.Event, waitingEvents+5), make(chan struct{})}
		if err := feed.events.On("mfa.sign_in.failed", slow); err != nil {
			return err
		}
		ctx, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { feed.run(ctx); close(done) }()

		at := time.Now()
		feed.tell(store.Event{At: at, Name: "user.created", UserID: "u1"}) // nobody listens
		for range waitingEvents + 5 {
			feed.tell(store.Event{At: at, Name: "sign_in.failed", UserID: "u1", Fields: map[string]string{"reason": "wrong"}})
		}
		e := <-slow.events
		if want := map[string]any{"time": at, "user_id": "u1", "reason": "wrong"}; e.Name() != "mfa.sign_in.failed" || !maps.Equal(e.Data, want) {
			t.Errorf("heard %s: %v", e.Name(), e.Data)
		}
		end()
		close(slow.goOn)
		<-done
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEventsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := newMetrics(registry, new(App)); err != nil {
		t.Fatal(err)
	}
	counted := func() (n float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				if family.GetName() == "caddy_mfa_events_total" && metric.GetLabel()[0].GetValue() == "keys.rotated" {
					n = metric.GetCounter().GetValue()
				}
			}
		}
		return n
	}
	before := counted()
	countEvent(store.Event{Name: "keys.rotated"})
	if after := counted(); after != before+1 {
		t.Errorf("counted %v after %v", after, before)
	}
}

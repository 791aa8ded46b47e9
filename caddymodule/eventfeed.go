package caddymodule

import (
	"context"

	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// eventPrefix is what the names of audit events begin with in Caddy's events app.
	eventPrefix = "mfa."
	// waitingEvents is how many audit events may wait for handlers of the operator's.
	// Those that don't fit are dropped: nobody's sign-in waits for a handler.
	waitingEvents = 1000
)

// eventFeed passes audit events on to Caddy's events app, where operators can have
// handlers for them. Handlers run in a goroutine of the feed's.
type eventFeed struct {
	app     *App
	events  *caddyevents.App
	waiting chan store.Event
}

// newEventFeed returns the feed of a configuration; nil: its events app isn't Caddy's.
func newEventFeed(a *App) (*eventFeed, error) {
	module, err := a.ctx.App("events")
	if err != nil {
		return nil, err
	}
	events, ok := module.(*caddyevents.App)
	if !ok {
		return nil, nil
	}
	return &eventFeed{app: a, events: events, waiting: make(chan store.Event, waitingEvents)}, nil
}

// tell has an event passed on, if anything listens to it and there is room.
func (f *eventFeed) tell(e store.Event) {
	if !f.events.ShouldEmit(eventPrefix + e.Name) {
		return
	}
	select {
	case f.waiting <- e:
	default:
		f.app.bounded.Warn("dropping an audit event for Caddy's events app: its handlers are too slow")
	}
}

// run passes events on until ctx ends.
func (f *eventFeed) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-f.waiting:
			f.events.Emit(f.app.ctx, eventPrefix+e.Name, dataOf(e))
		}
	}
}

// dataOf is an audit event as data of one of Caddy's.
func dataOf(e store.Event) map[string]any {
	data := map[string]any{"time": e.At}
	if e.UserID != "" {
		data["user_id"] = e.UserID
	}
	for field, value := range e.Fields {
		data[field] = value
	}
	return data
}

// eventsCounted counts audit events. It belongs to the process, so that a reload
// doesn't begin anew.
var eventsCounted = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "caddy_mfa_events_total",
	Help: "Audit events, by name.",
}, []string{"event"})

func countEvent(e store.Event) {
	eventsCounted.WithLabelValues(e.Name).Inc()
	countSignIn(e)
}

// observeInForce counts an event, and passes it on by the configuration that is in
// force at that moment.
func observeInForce(e store.Event) {
	countEvent(e)
	if a := inForce.Load(); a != nil {
		if s := a.service.Load(); s != nil && s.events != nil {
			s.events.tell(e)
		}
	}
}

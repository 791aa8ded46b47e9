package caddymodule

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// exitGrace is how long a process that ends waits for open connections, where
// the operator has set no grace_period. Caddy's own default is to wait for ever:
// with one stream open, such a process takes no commands any more and keeps the
// store from its successor, who waits a little longer than this.
const exitGrace = 5 * time.Second

// boundExit sees to it that the end of the process is bounded in time. A reload
// isn't: there the streams of the former configuration go on.
func (a *App) boundExit() error {
	module, err := a.ctx.App("events")
	if err != nil {
		return err
	}
	events, ok := module.(*caddyevents.App)
	if !ok {
		return nil // another implementation, which has its own ways
	}
	return events.On("stopping", exiting{a})
}

// exiting hears that a configuration is about to stop: Caddy tells of it before
// it stops any app, and in the same goroutine.
type exiting struct{ app *App }

// Handle implements caddyevents.Handler.
func (e exiting) Handle(context.Context, caddy.Event) error {
	if !caddy.Exiting() {
		return nil
	}
	sites, err := e.app.httpApp()
	if err != nil {
		return err
	}
	if grace := boundGrace(sites); grace {
		e.app.logger.Info("the process is stopping: connections that are still open will be cut; `grace_period` changes when",
			zap.Duration("grace_period", exitGrace))
	}
	return nil
}

// boundGrace gives the sites a grace period where they have none.
func boundGrace(sites *caddyhttp.App) (changed bool) {
	if sites.GracePeriod > 0 {
		return false
	}
	sites.GracePeriod = caddy.Duration(exitGrace)
	return true
}

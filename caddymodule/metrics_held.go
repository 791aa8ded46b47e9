package caddymodule

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-mfa/portcullis/store"
)

// scrapePatience is how long the store may take to count rows for a scrape.
const scrapePatience = time.Second

// The descriptions of what is looked up when somebody asks for it.
var (
	rowsHeld      = prometheus.NewDesc("caddy_mfa_cached_rows", "Rows of the store that are kept in memory, by kind.", []string{"kind"}, nil)
	liveHeld      = prometheus.NewDesc("caddy_mfa_live_connections", "Requests and streams in progress that end with a session, device or token.", nil, nil)
	cutHeld       = prometheus.NewDesc("caddy_mfa_cut_connections_total", "Requests and streams that were cut because their session, device or token ended.", nil, nil)
	feedAgeHeld   = prometheus.NewDesc("caddy_mfa_feed_age_seconds", "Time since the store last confirmed that all changes have arrived. Always 0 with SQLite.", nil, nil)
	hashingHeld   = prometheus.NewDesc("caddy_mfa_hashing", "Password hashes, by whether they are running or waiting.", []string{"state"}, nil)
	usersHeld     = prometheus.NewDesc("caddy_mfa_users", "Users, by status.", []string{"status"}, nil)
	storeHeld     = prometheus.NewDesc("caddy_mfa_store_seconds", "How long the store took to count the users for this scrape.", nil, nil)
	outboxHeld    = prometheus.NewDesc("caddy_mfa_outbox_failing_seconds", "How long every attempt at a message has failed; 0: the newest one succeeded.", nil, nil)
	heldDescribed = []*prometheus.Desc{rowsHeld, liveHeld, cutHeld, feedAgeHeld, hashingHeld, usersHeld, storeHeld, outboxHeld}
	countedStates = []store.UserStatus{store.UserInvited, store.UserActive, store.UserDisabled}
)

// held collects what the service of a configuration holds at the moment of a scrape.
type held struct{ app *App }

// Describe implements prometheus.Collector.
func (h held) Describe(to chan<- *prometheus.Desc) {
	for _, description := range heldDescribed {
		to <- description
	}
}

// Collect implements prometheus.Collector.
func (h held) Collect(to chan<- prometheus.Metric) {
	s := h.app.service.Load()
	if s == nil {
		return
	}
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	f := s.keeper.Figures()
	gauge(rowsHeld, float64(f.SignOns), "sign_on")
	gauge(rowsHeld, float64(f.Profiles), "profile")
	gauge(rowsHeld, float64(f.Devices), "device")
	gauge(rowsHeld, float64(f.AccessTokens), "access_token")
	gauge(liveHeld, float64(f.Connections))
	to <- prometheus.MustNewConstMetric(cutHeld, prometheus.CounterValue, float64(f.Cut))
	gauge(feedAgeHeld, f.FeedAge.Seconds())
	running, waiting := s.hashing.Load()
	gauge(hashingHeld, float64(running), "running")
	gauge(hashingHeld, float64(waiting), "waiting")
	s.collectRows(gauge)
	if s.outbox != nil {
		failing := 0.0
		if trouble, is := s.outbox.Trouble(); is {
			failing = time.Since(trouble.Since).Seconds()
		}
		gauge(outboxHeld, failing)
	}
}

// collectRows tells what the store counts. If it can't, the figures are missing.
func (s *service) collectRows(gauge func(*prometheus.Desc, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	began := time.Now()
	for _, status := range countedStates {
		count, err := s.store.CountUsers(ctx, status)
		if err != nil {
			return
		}
		gauge(usersHeld, float64(count), string(status))
	}
	gauge(storeHeld, time.Since(began).Seconds())
}

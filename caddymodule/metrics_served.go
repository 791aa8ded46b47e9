package caddymodule

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// The outcomes of a request at a gate.
const (
	outcomePassed  = "passed"
	outcomeOpen    = "open"
	outcomeRefused = "refused"
)

// What is counted of requests and sign-ins belongs to the process, as events do.
var (
	decisionSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_mfa_decision_seconds",
		Help:    "How long gates took to decide on requests, by what came of them: passed, open (a path that needs no sign-in) or refused.",
		Buckets: []float64{0.00002, 0.0001, 0.0005, 0.0025, 0.01, 0.05, 0.25, 1},
	}, []string{"outcome"})
	passedSeconds  = decisionSeconds.WithLabelValues(outcomePassed)
	openSeconds    = decisionSeconds.WithLabelValues(outcomeOpen)
	refusedSeconds = decisionSeconds.WithLabelValues(outcomeRefused)

	signIns = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_mfa_sign_ins_total",
		Help: "Sign-ins, by outcome, and by the factors that were shown, or the one that failed.",
	}, []string{"outcome", "factors"})
	stepUps = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_mfa_step_ups_total",
		Help: "Fresh checks that succeeded, by the factors that were shown.",
	}, []string{"factors"})
)

// countSignIn counts an event that is about signing in. The fields that become labels have
// values of the program's alone.
func countSignIn(e store.Event) {
	switch audit.Name(e.Name) {
	case audit.SignInSucceeded:
		signIns.WithLabelValues("succeeded", e.Fields[string(audit.Factors)]).Inc()
	case audit.SignInFailed:
		signIns.WithLabelValues("failed", e.Fields[string(audit.Factor)]).Inc()
	case audit.StepUpSucceeded:
		stepUps.WithLabelValues(e.Fields[string(audit.Factors)]).Inc()
	}
}

// noteDecision notes how long the decision on a request took that goes on to the app.
func noteDecision(since time.Time, known bool) {
	if known {
		passedSeconds.Observe(time.Since(since).Seconds())
	} else {
		openSeconds.Observe(time.Since(since).Seconds())
	}
}

// noteRefusal notes it of a request that didn't go on.
func noteRefusal(since time.Time, r *http.Request) {
	if caddyhttp.GetVar(r.Context(), passedVar) == nil {
		refusedSeconds.Observe(time.Since(since).Seconds())
	}
}

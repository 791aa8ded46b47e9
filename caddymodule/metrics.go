package caddymodule

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what the module tells at Caddy's /metrics. Each configuration has a
// registry of its own, and so has values of its own: what has to be counted
// across reloads belongs into a variable of the process that is registered anew.
//
// Labels take values of the program's alone, never any that clients can choose.
type metrics struct {
	filesRead *prometheus.GaugeVec
}

// The values of the label of metrics.filesRead.
const (
	fileCRL  = "crl"
	fileKeys = "keys"
)

func newMetrics(registry *prometheus.Registry, a *App) (*metrics, error) {
	m := &metrics{
		filesRead: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "caddy_mfa_file_last_read_successful",
			Help: "Whether a file that is read again while Caddy runs is in force as it is (1), or was refused, so that what was read before stays in force (0).",
		}, []string{"file"}),
	}
	for _, collector := range []prometheus.Collector{m.filesRead, eventsCounted, decisionSeconds, signIns, stepUps, held{a}} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

// fileRead notes what came of looking at a file.
func (m *metrics) fileRead(file string, err error) {
	value := 1.0
	if err != nil {
		value = 0
	}
	m.filesRead.WithLabelValues(file).Set(value)
}

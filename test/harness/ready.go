package harness

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// probeLimit bounds one attempt at finding out whether a site answers.
const probeLimit = 5 * time.Second

// startPatience bounds the wait for all sites. Caddy tries again after a minute
// where it couldn't make a certificate at once, and after two more.
const startPatience = 4 * time.Minute

// awaitServing returns once the configuration is in force and every address
// of it answers, TLS with a certificate for each site included.
func (s *Server) awaitServing() {
	s.t.Helper()
	var probes []probe
	ready := func() bool {
		if !s.process.running() {
			return true
		}
		if probes == nil {
			found, err := s.probes()
			if err != nil {
				return false
			}
			probes = found
		}
		for len(probes) > 0 && probes[0].answers() {
			probes = probes[1:]
		}
		return len(probes) == 0
	}
	if !poll(startPatience, ready) {
		s.t.Fatalf("the server didn't answer within %s; still waiting for %v; its log complains:\n%s",
			startPatience, probes, s.log.complaints())
	}
	if !s.process.running() {
		s.t.Fatalf("the server ended with code %d: %s", s.process.exitCode(), errorText(s.log.String()))
	}
}

// probe is one thing that a server has to answer: a connection, and for a
// site with a name a TLS handshake, unless it turns out to speak plain HTTP.
type probe struct {
	address string
	host    string // "": any connection will do
}

func (p probe) answers() bool {
	dialer := &net.Dialer{Timeout: probeLimit}
	connection, err := dialer.Dial("tcp", p.address)
	if err != nil {
		return false
	}
	defer func() { _ = connection.Close() }()
	if p.host == "" {
		return true
	}
	_ = connection.SetDeadline(time.Now().Add(probeLimit))
	handshake := tls.Client(connection, &tls.Config{
		ServerName:         p.host,
		InsecureSkipVerify: true, // only whether it answers is asked
	}).Handshake()
	var plain tls.RecordHeaderError
	return handshake == nil || errors.As(handshake, &plain)
}

// servedConfig is as much of Caddy's configuration as tells where it listens
// and for which names.
type servedConfig struct {
	Apps struct {
		HTTP struct {
			Servers map[string]struct {
				Listen []string `json:"listen"`
				Routes []struct {
					Match []struct {
						Host []string `json:"host"`
					} `json:"match"`
				} `json:"routes"`
			} `json:"servers"`
		} `json:"http"`
	} `json:"apps"`
}

// probes asks the running server what it serves. Caddy answers once the
// configuration is in force, not while it loads.
func (s *Server) probes() ([]probe, error) {
	dump, err := s.AdminGet("/config/")
	if err != nil {
		return nil, err
	}
	var config *servedConfig
	if err := json.Unmarshal([]byte(dump), &config); err != nil {
		return nil, fmt.Errorf("reading the configuration in force: %w", err)
	}
	if config == nil {
		return nil, errors.New("no configuration in force yet")
	}
	probes := []probe{}
	for _, server := range config.Apps.HTTP.Servers {
		for _, listen := range server.Listen {
			address, ok := dialable(listen)
			if !ok {
				continue
			}
			probes = append(probes, probe{address: address})
			for _, route := range server.Routes {
				for _, match := range route.Match {
					for _, host := range match.Host {
						probes = append(probes, probe{address, strings.Replace(host, "*", "any", 1)})
					}
				}
			}
		}
	}
	return probes, nil
}

// dialable turns a listener's address into one to connect to; false for
// sockets that aren't TCP.
func dialable(listen string) (string, bool) {
	if network, rest, named := strings.Cut(listen, "/"); named {
		if network != "tcp" && network != "tcp4" {
			return "", false
		}
		listen = rest
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", false
	}
	if host == "" || host == "0.0.0.0" || host == "localhost" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), true
}

// AdminGet reads a path of Caddy's admin endpoint, such as /config/ or
// /metrics. Every status but 200 is an error.
func (s *Server) AdminGet(path string) (string, error) {
	client := &http.Client{Timeout: probeLimit}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + s.admin + path)
	if err != nil {
		return "", fmt.Errorf("asking the admin endpoint: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("reading the admin endpoint's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the admin endpoint answered %s: %s", response.Status, body)
	}
	return string(body), nil
}

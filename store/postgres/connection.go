package postgres

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ListenOff has the feed of changes ask at an interval, and never LISTEN.
const ListenOff = "off"

const (
	// defaultConnections is how many connections a process has for its operations. The
	// feed has one more.
	defaultConnections = 16
	// dialWithin is how long connecting to one address may take.
	dialWithin = 2 * time.Second
)

// Settings say where the database is.
type Settings struct {
	// URL is a connection string as libpq reads it: a URL or pairs of keys and values.
	// pgxpool's own parameters (pool_max_conns and others) count too.
	URL string
	// Listen is the connection string for the feed of changes and for migrations, which
	// need a session, if URL is the address of a pooler that works by transaction. With
	// ListenOff, the feed asks at an interval. Empty: URL.
	Listen string
	// Warn is told what goes wrong in the background; nil: nobody is.
	Warn Warn
}

// Check returns what is wrong with the settings. It connects to nothing.
func (s Settings) Check() error {
	_, _, err := s.parse()
	return err
}

// parse returns how to connect for operations, and for what needs a session.
func (s Settings) parse() (*pgxpool.Config, *pgx.ConnConfig, error) {
	main, err := pgxpool.ParseConfig(s.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("the address of the database: %w: write postgres://USER@HOST/DATABASE?sslmode=verify-full", err)
	}
	if err := secure(main.ConnConfig); err != nil {
		return nil, nil, err
	}
	if !strings.Contains(s.URL, "pool_max_conns") {
		main.MaxConns = defaultConnections
	}
	feeding := main.ConnConfig.Copy()
	if s.Listen != "" && s.Listen != ListenOff {
		if feeding, err = pgx.ParseConfig(s.Listen); err != nil {
			return nil, nil, fmt.Errorf("listen: %w: write postgres://USER@HOST/DATABASE?sslmode=verify-full, or off", err)
		}
		if err := secure(feeding); err != nil {
			return nil, nil, err
		}
	}
	return main, feeding, nil
}

// secure refuses what would send passwords and secrets where others can read or
// change them, and has connections made only to a server that can be written to.
func secure(c *pgx.ConnConfig) error {
	ways := []*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}
	for _, way := range append(ways, c.Fallbacks...) {
		if isHere(way.Host) {
			continue
		}
		if way.TLSConfig == nil || way.TLSConfig.InsecureSkipVerify {
			return fmt.Errorf("the connection to %s must be encrypted, and the server's certificate verified: add sslmode=verify-full (and sslrootcert=FILE, if the certificate comes from a CA of your own)", way.Host)
		}
	}
	if c.ValidateConnect == nil {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = dialWithin
	}
	return nil
}

// isHere reports whether a host is this machine: nobody else sees what is sent there.
func isHere(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// pool is the connections for operations.
type pool struct {
	*pgxpool.Pool
	// silent says that the server hasn't answered to the last read of the feed.
	silent atomic.Bool
}

// atMost returns how long a call may take that may take d at most: while the server is
// silent, just as long as it takes to find out that it still is.
func (p *pool) atMost(d time.Duration) time.Duration {
	if p.silent.Load() {
		return min(d, dialWithin/2)
	}
	return d
}

// isLost reports whether an error says that a connection is gone, or that its server
// isn't one that can be written to any more.
func isLost(err error) bool {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		switch failure.Code {
		case "57P01", "57P02", "57P03", "25006": // shutdown, crash, starting up; read-only
			return true
		}
		return strings.HasPrefix(failure.Code, "08")
	}
	return pgconn.SafeToRetry(err) || isBroken(err) || errors.Is(err, errClosed)
}

package commands

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/showable"
)

const (
	// pageOfEvents is how many events are asked for at a time.
	pageOfEvents = 1000
	// followEvery is how often new events are asked for.
	followEvery = time.Second
	// followTries is how often in a row the server may fail to answer, as it does
	// while it restarts, before following ends.
	followTries = 10
)

func eventsCommand() *cobra.Command {
	var asked eventFlags
	cmd := &cobra.Command{
		Use: "events", Short: "Lists what the audit log has kept", Args: exactly(0), SilenceUsage: true,
		Long: `Lists events, oldest first: the newest 100, or all since a time. A time is a date
(2026-11-30), a date with a time of day ("2026-11-30 14:05", in local time), a time
with its zone (2026-11-30T14:05:00Z), or how long ago it was (90m, 24h, 7d).

With --json, each line is one event. With --csv, there is a column for every field
that events have, and a ' before what a spreadsheet would take for a formula.`,
		Example: `  caddy mfa events --since 24h --type sign_in.failed
  caddy mfa events --user alice --json
  caddy mfa events --since 2026-11-01 --until 2026-12-01 --csv > november.csv
  caddy mfa events --follow`,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return asked.check(cmd) },
		RunE:    func(cmd *cobra.Command, _ []string) error { return asked.list(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&asked.since, "since", "", "Only events of this time or later")
	flags.StringVar(&asked.until, "until", "", "Only events before this time")
	flags.StringVar(&asked.user, "user", "", "Only events of this user: a name, or the ID that events contain")
	flags.StringVar(&asked.kind, "type", "", "Only events with this name, such as sign_in.failed")
	flags.IntVar(&asked.limit, "limit", 0, "How many events to list at most (default: 100, or all with --since; at most 1000 without --since)")
	flags.BoolVarP(&asked.follow, "follow", "f", false, "Keep printing new events as they happen")
	flags.BoolVar(&asked.csv, "csv", false, "Print CSV")
	return alsoTyped(cmd, "audit", "log", "event", "history")
}

// eventFlags are the flags of the command.
type eventFlags struct {
	since, until, user, kind string
	limit                    int
	follow, csv              bool

	// query is what the server is asked for, without where to continue.
	query url.Values
}

// check refuses flags that make no sense, and resolves times.
func (f *eventFlags) check(cmd *cobra.Command) error {
	asJSON, err := cmd.Flags().GetBool("json")
	switch {
	case err != nil:
		return err
	case asJSON && f.csv:
		return errors.New("give --json or --csv, not both")
	case f.follow && f.until != "":
		return errors.New("give --follow or --until, not both")
	case f.limit < 0:
		return fmt.Errorf("--limit %d: give a positive number", f.limit)
	case f.limit > pageOfEvents && f.since == "":
		return fmt.Errorf("--limit %d: to list more than the newest %d events, also give --since", f.limit, pageOfEvents)
	}
	f.query, err = f.resolve(time.Now())
	return err
}

// list prints events page by page, so that as many can be listed as there are.
func (f *eventFlags) list(cmd *cobra.Command) error {
	tell, err := f.teller(cmd)
	if err != nil {
		return err
	}
	listing := listing{cmd: cmd, query: f.query, tell: tell}
	left := f.limit
	for {
		size := pageOfEvents
		if left > 0 {
			size = min(left, size)
		} else if f.since == "" {
			size = 0 // the server's own
		}
		listed, err := listing.page(size)
		if err != nil {
			return err
		}
		if left > 0 {
			left -= listed
		}
		if f.since == "" || listed < size || f.limit > 0 && left == 0 {
			break
		}
	}
	if !f.follow {
		return nil
	}
	return listing.follow(cmd.Context())
}

// resolve returns what the flags ask for.
func (f *eventFlags) resolve(now time.Time) (url.Values, error) {
	query := url.Values{}
	for name, written := range map[string]string{"since": f.since, "until": f.until} {
		if written == "" {
			continue
		}
		at, err := parseTime(written, now)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		query.Set(name, at.Format(time.RFC3339))
	}
	for name, written := range map[string]string{"user": f.user, "type": f.kind} {
		if written != "" {
			query.Set(name, written)
		}
	}
	return query, nil
}

// parseTime reads a time, or how long ago one was.
func parseTime(written string, now time.Time) (time.Time, error) {
	if ago, err := caddy.ParseDuration(written); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, written, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q isn't a time: write a date such as 2026-11-30, a time such as 2026-11-30T14:05:00Z, or how long ago it was, such as 24h or 7d", written)
}

// listing is events being listed.
type listing struct {
	cmd   *cobra.Command
	query url.Values
	tell  func([]adminapi.Event) error
	named bool // the portal was named
}

// page prints the next events and returns how many there were.
func (l *listing) page(size int) (int, error) {
	if size > 0 {
		l.query.Set("limit", strconv.Itoa(size))
	}
	c := call{method: http.MethodGet, path: []string{"events"}, query: l.query}
	send := c.send
	if l.named {
		send = func(cmd *cobra.Command) ([]byte, error) {
			answer, _, err := c.ask(cmd)
			return answer, err
		}
	}
	answer, err := send(l.cmd)
	if err != nil {
		return 0, err
	}
	l.named = true
	var page adminapi.Events
	if err := json.Unmarshal(answer, &page); err != nil {
		return 0, fmt.Errorf("reading the server's answer: %w", err)
	}
	l.query.Set("after", strconv.FormatInt(page.Next, 10))
	return len(page.Events), l.tell(page.Events)
}

// follow prints new events until ctx ends, or until the server is gone.
func (l *listing) follow(ctx context.Context) error {
	again := time.NewTicker(followEvery)
	defer again.Stop()
	for failed := 0; failed < followTries; {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		_, err := l.page(pageOfEvents)
		switch {
		case err == nil:
			failed = 0
		case failed == followTries-1:
			return err
		default:
			failed++
		}
	}
	return nil
}

// teller returns what prints a page, in the form that the flags ask for.
func (f *eventFlags) teller(cmd *cobra.Command) (func([]adminapi.Event) error, error) {
	asJSON, err := cmd.Flags().GetBool("json")
	if err != nil {
		return nil, err
	}
	w := cmd.OutOrStdout()
	switch {
	case asJSON:
		lines := json.NewEncoder(w)
		return func(events []adminapi.Event) error {
			for _, e := range events {
				if err := lines.Encode(e); err != nil {
					return err
				}
			}
			return nil
		}, nil
	case f.csv:
		return csvTeller(w)
	}
	return func(events []adminapi.Event) error { return tellEvents(w, events) }, nil
}

// tellEvents prints a line an event. What a stranger could have typed is kept from
// steering the terminal.
func tellEvents(w io.Writer, events []adminapi.Event) error {
	for _, e := range events {
		user := e.Fields[adminapi.UserField]
		details := []string{}
		for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
			if field != adminapi.UserField {
				details = append(details, field+"="+quoted(e.Fields[field]))
			}
		}
		if user == "" {
			user = "-"
		}
		line := fmt.Sprintf("%s  %-28s  %-16s  %s", stamp(e.Time), e.Event, user, strings.Join(details, " "))
		if _, err := fmt.Fprintln(w, strings.TrimRight(showable.Text(line), " ")); err != nil {
			return err
		}
	}
	return nil
}

// quoted is a value with quotes where it has spaces.
func quoted(value string) string {
	if strings.ContainsAny(value, " \"=") {
		return strconv.Quote(value)
	}
	return value
}

// csvTeller prints a head, and then a row an event (RFC 4180).
func csvTeller(w io.Writer) (func([]adminapi.Event) error, error) {
	fields := adminapi.EventFields()
	head := append([]string{"id", "time", "event", "user_id"}, fields...)
	rows := csv.NewWriter(w)
	if err := rows.Write(head); err != nil {
		return nil, err
	}
	return func(events []adminapi.Event) error {
		for _, e := range events {
			row := []string{strconv.FormatInt(e.ID, 10), e.Time.Format(time.RFC3339), string(e.Event), e.UserID}
			for _, field := range fields {
				row = append(row, unformulated(e.Fields[field]))
			}
			if err := rows.Write(row); err != nil {
				return err
			}
		}
		rows.Flush()
		return rows.Error()
	}, nil
}

// unformulated keeps a spreadsheet from running what a stranger sent as a formula.
func unformulated(value string) string {
	if value != "" && strings.ContainsRune("=+-@\t\r", rune(value[0])) {
		return "'" + value
	}
	return value
}

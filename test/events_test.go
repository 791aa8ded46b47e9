package test

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// kept is an event as `caddy mfa events --json` prints it, one a line.
type kept struct {
	ID     int64
	Time   time.Time
	Event  string
	UserID string `json:"user_id"`
	Fields map[string]string
}

// testEvents reads what has happened to bob, who was disabled and enabled twice.
func testEvents(t *testing.T, s *scene.Scene) {
	list := func(arguments ...string) (events []kept) {
		t.Helper()
		out := expectDone(t, s, append([]string{"mfa", "events", "--json"}, arguments...)...)
		for line := range strings.Lines(out.Stdout) {
			var e kept
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			events = append(events, e)
		}
		return events
	}
	all := list()
	for i, e := range all {
		if i > 0 && e.ID <= all[i-1].ID || e.Time.IsZero() || e.Event == "" {
			t.Errorf("event %d: %+v after %+v", i, e, all[max(i-1, 0)])
		}
	}
	bobs := list("--user", "BOB")
	id := bobs[0].UserID
	if len(bobs) >= len(all) || len(list("--user", id)) != len(bobs) || id == "" {
		t.Errorf("of %d events, %d are bob's", len(all), len(bobs))
	}
	for _, e := range bobs {
		if e.UserID != id {
			t.Errorf("not bob's: %+v", e)
		}
	}
	if got := list("--user", "bob", "--type", "user.disabled"); len(got) != 2 || got[0].Fields["by"] != "administrator" {
		t.Errorf("disabled: %+v", got)
	}
	if got := list("--limit", "2"); len(got) != 2 || got[1].ID != all[len(all)-1].ID {
		t.Errorf("the newest two: %+v", got)
	}
	if got := list("--since", "1h"); len(got) != len(all) {
		t.Errorf("%d events of the last hour, want %d", len(got), len(all))
	}
	if got := list("--since", "1h", "--limit", "3"); len(got) != 3 || got[0].ID != all[0].ID {
		t.Errorf("the first three of the last hour: %+v", got)
	}
	if got := list("--until", "1h"); len(got) != 0 {
		t.Errorf("an hour ago: %+v", got)
	}
	if got := list("--since", time.Now().AddDate(0, 0, 1).Format(time.DateOnly)); len(got) != 0 {
		t.Errorf("tomorrow: %+v", got)
	}

	out := expectDone(t, s, "mfa", "events", "--user", "bob", "--type", "user.disabled")
	if !regexp.MustCompile(`(?m)\A(\S+ \S+ \S+  user\.disabled +bob +by=administrator\n){2}\z`).MatchString(out.Stdout) {
		t.Errorf("for the eye: %q", out.Stdout)
	}
	rows, err := csv.NewReader(strings.NewReader(expectDone(t, s, "mfa", "events", "--csv", "--user", "bob").Stdout)).ReadAll()
	if err != nil || len(rows) != len(bobs)+1 || strings.Join(rows[0][:4], ",") != "id,time,event,user_id" || rows[1][3] != id {
		t.Errorf("CSV: %v, %v", err, rows)
	}

	for _, c := range []struct {
		arguments, says string
		code            int
	}{
		{"events --user nemo", "no user has this name", 3},
		{"events --type sign_in", `no event is called "sign_in"`, 1},
		{"events --since yesterday", `--since: "yesterday" isn't a time`, 2},
		{"events --limit -1", "--limit -1: give a positive number", 2},
		{"events --csv --json", "give --json or --csv, not both", 2},
		{"events x", `write caddy mfa events: "x" was given`, 2},
	} {
		if out := s.CLI(append([]string{"mfa"}, strings.Fields(c.arguments)...)...); out.Code != c.code || out.Stdout != "" || !strings.Contains(out.Stderr, c.says) {
			t.Errorf("mfa %s: %+v", c.arguments, out)
		}
	}

	follower := exec.Command(harness.Binary(t), "mfa", "events", "--follow", "--json", "--user", "bob", "--type", "user.unlocked", "--address", s.Server.Admin())
	printed, err := follower.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = follower.Process.Kill(), follower.Wait() }()
	lines := bufio.NewScanner(printed)
	for range list("--user", "bob", "--type", "user.unlocked") {
		lines.Scan() // what was there before
	}
	expectDone(t, s, "mfa", "user", "unlock", "bob")
	var e kept
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &e) != nil || e.Event != "user.unlocked" || e.ID <= all[len(all)-1].ID {
		t.Errorf("followed: %q", lines.Text())
	}
}

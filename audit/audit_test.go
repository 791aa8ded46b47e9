package audit_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sink keeps events, or fails.
type sink struct {
	events []store.Event
	err    error
}

func (s *sink) AppendEvent(_ context.Context, e store.Event) error {
	s.events = append(s.events, e)
	return s.err
}

// TestCatalogueIsComplete holds the catalogue against the constants: an event
// that is missing there would panic when it happens.
func TestCatalogueIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "audit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		kind, ok := spec.Type.(*ast.Ident)
		if !ok {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		declared[kind.Name] = append(declared[kind.Name], value)
		return true
	})
	var names []string
	used := map[string]bool{}
	for _, n := range audit.Catalogue() {
		names = append(names, string(n))
		for _, f := range audit.FieldsOf(n) {
			used[string(f)] = true
		}
	}
	slices.Sort(declared["Name"])
	if !slices.Equal(names, declared["Name"]) {
		t.Errorf("the catalogue has %v, declared are %v", names, declared["Name"])
	}
	for _, f := range declared["Field"] {
		if !used[f] {
			t.Errorf("no event has the field %s", f)
		}
	}
}

func TestNew(t *testing.T) {
	e := audit.New(noon, audit.UserCreated, "7", audit.Fields{audit.User: "ada", audit.By: ""})
	if e.Name != "user.created" || e.UserID != "7" || !e.At.Equal(noon) || len(e.Fields) != 1 || e.Fields["user"] != "ada" {
		t.Errorf("%+v", e)
	}
	for what, wrong := range map[string]func(){
		"an unknown event":            func() { audit.New(noon, "user.teleported", "", nil) },
		"a field of another event":    func() { audit.New(noon, audit.UserCreated, "", audit.Fields{audit.Drift: "1"}) },
		"an empty field of another's": func() { audit.New(noon, audit.UserCreated, "", audit.Fields{audit.Drift: ""}) },
	} {
		t.Run(what, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			wrong()
		})
	}
}

// TestFieldsAreFitToKeep sends anything as a User-Agent: what is kept is
// bounded, text, and fit to be shown.
func TestFieldsAreFitToKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := string(rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "sent"))
		kept := audit.New(noon, audit.SignInFailed, "", audit.Fields{audit.UserAgent: sent}).Fields["user_agent"]
		if len(kept) > 256 || !utf8.ValidString(kept) || strings.Contains(kept, "\x00") {
			t.Fatalf("kept %d bytes: %q", len(kept), kept)
		}
		if strings.ContainsFunc(kept, showable.IsHidden) {
			t.Fatalf("kept %+q", kept)
		}
		if len(sent) <= 256 && showable.Text(sent) == sent && kept != sent {
			t.Fatalf("%q became %q", sent, kept)
		}
	})
}

func TestShortID(t *testing.T) {
	id := strings.Repeat("s", 43)
	short := audit.ShortID(id)
	if len(short) != 12 || short != audit.ShortID(id) || short == audit.ShortID(id+"s") || strings.Contains(id, short) {
		t.Errorf("%q", short)
	}
}

func TestLog(t *testing.T) {
	core, lines := observer.New(zap.DebugLevel)
	kept := new(sink)
	log := audit.NewLog(zap.New(core), kept, func() time.Time { return noon })

	log.Record(t.Context(), audit.ClockDrifting, "7", audit.Fields{audit.User: "ada", audit.Drift: "1m0s"})
	line := lines.TakeAll()[0]
	if fields := line.ContextMap(); line.Message != "totp.clock_drifting" || line.Level != zap.InfoLevel ||
		fields["user_id"] != "7" || fields["user"] != "ada" || fields["drift"] != "1m0s" || len(fields) != 3 {
		t.Errorf("the line: %+v %v", line.Entry, fields)
	}
	if len(kept.events) != 1 || !kept.events[0].At.Equal(noon) || kept.events[0].Fields["drift"] != "1m0s" {
		t.Errorf("the row: %+v", kept.events)
	}

	t.Run("an event of a transaction is written once it committed", func(t *testing.T) {
		e := log.Event(audit.SetupLinkCreated, "", audit.Fields{audit.By: "administrator"})
		if lines.Len() != 0 {
			t.Error("a line before the commit")
		}
		log.Written(e)
		if got := lines.TakeAll(); len(got) != 1 || len(kept.events) != 1 {
			t.Errorf("lines %v, rows %v", got, kept.events)
		} else if _, named := got[0].ContextMap()["user_id"]; named {
			t.Error("nobody's event names a user")
		}
	})
	t.Run("a store that fails doesn't silence the log", func(t *testing.T) {
		kept.err = errors.New("the disk is full")
		log.Record(t.Context(), audit.SignInFailed, "7", audit.Fields{audit.User: "ada"})
		got := lines.TakeAll()
		if len(got) != 2 || got[0].Level != zap.ErrorLevel || got[1].Message != "sign_in.failed" {
			t.Errorf("%v", got)
		}
	})
}

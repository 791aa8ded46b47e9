package scene

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// MostSettled is how many people can have set up before a scene begins.
const MostSettled = 4

// settledFor is how old the set-ups of a copy may be. Proofs age: people may
// change their own factors for five minutes after they showed one.
const settledFor = 2 * time.Minute

// settledAdministrator is the name that most scenes give to the first
// administrator, who isn't renamed there, which would be an event.
const settledAdministrator = "ada"

// snapshot is the state that a server left behind, and who had set up there.
type snapshot struct {
	state  harness.State
	people []*Person
	began  time.Time
}

// snapshots holds one for each number of people. They are made by the binary
// under test and through its pages, so they are never out of date with it.
var snapshots struct {
	sync.Mutex
	of [MostSettled + 1]snapshot
}

// settled returns a snapshot with that many people, which is made where there
// is none yet, or only one that is too old.
func settled(t testing.TB, people int) snapshot {
	t.Helper()
	snapshots.Lock()
	defer snapshots.Unlock()
	return settledLocked(t, people)
}

func settledLocked(t testing.TB, people int) snapshot {
	t.Helper()
	kept := &snapshots.of[people]
	if people == 0 || time.Since(kept.began) < settledFor {
		return *kept
	}
	below := settledLocked(t, people-1)
	began := below.began
	if people == 1 {
		began = time.Now()
	}
	s := start(t, Options{}, below.state)
	var p *Person
	if people == 1 {
		p = s.Administrator(settledAdministrator)
	} else {
		p = s.Invited(fmt.Sprintf("settled%d", people))
	}
	s.Stop()
	*kept = snapshot{state: s.State("portcullis"), people: append(below.people[:people-1:people-1], p), began: began}
	return *kept
}

// arrive gives a settled person of the snapshot the name and groups that the
// scene asks for; no groups leave those that they have. It returns nil where
// everybody who was settled has arrived.
func (s *Scene) arrive(name string, groups []string) *Person {
	s.t.Helper()
	if len(s.settled) == 0 {
		return nil
	}
	from := s.settled[0]
	s.settled = s.settled[1:]
	change := map[string]any{}
	if name != from.Name {
		change["name"], change["display_name"] = name, name
	}
	if len(groups) > 0 {
		change["groups"] = groups
	}
	if len(change) > 0 {
		s.admin(http.MethodPatch, "/mfa/users/"+from.Name, change)
	}
	s.Canary(from.Password, from.Secret)
	s.Canary(from.BackupCodes...)
	return &Person{
		Name: name, Password: from.Password, Secret: from.Secret, BackupCodes: slices.Clone(from.BackupCodes),
		Browser: s.ClientLike(from.Browser), s: s, last: from.last,
	}
}

// admin asks the admin API, and returns the link of its answer where it has one.
func (s *Scene) admin(method, path string, body any) (link string) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err == nil {
		text, err = s.AdminDo(method, path, string(text))
	}
	var answer struct{ Link string }
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	s.Canary(tokenOf(answer.Link))
	return answer.Link
}

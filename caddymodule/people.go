package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
)

// People names people one by one and by the groups that they are in. A person
// is meant who is named or is in one of the groups.
type People struct {
	// Users are sign-in names; case doesn't count.
	Users []string `json:"users,omitempty"`
	// Groups are names of groups; case counts.
	Groups []string `json:"groups,omitempty"`
}

var errNobody = errors.New("names nobody: write at least one user or group")

// resolve expands placeholders and brings names to their canonical form.
func (p *People) resolve() (audience, error) {
	if len(p.Users)+len(p.Groups) == 0 {
		return audience{}, errNobody
	}
	users, err := canonicalSet("user", p.Users, identity.CanonicalName)
	if err != nil {
		return audience{}, err
	}
	groups, err := canonicalSet("group", p.Groups, identity.CheckGroup)
	if err != nil {
		return audience{}, err
	}
	return audience{users: users, groups: groups}, nil
}

func canonicalSet(kind string, names []string, canonical func(string) (string, error)) (map[string]bool, error) {
	set := make(map[string]bool, len(names))
	for _, written := range names {
		name, err := expand(kind, written)
		if err != nil {
			return nil, err
		}
		if name, err = canonical(name); err != nil {
			return nil, refusedName(kind, written, err)
		}
		set[name] = true
	}
	return set, nil
}

// refusedName says why a user or group can't be called so.
func refusedName(kind, written string, err error) error {
	var refused *identity.NameError
	if errors.As(err, &refused) {
		return fmt.Errorf("%s %q: %s", kind, written, strings.TrimSuffix(refused.Text(), "."))
	}
	return fmt.Errorf("%s %q: %w", kind, written, err)
}

// audience is who is meant, with canonical names. The zero audience is nobody.
type audience struct {
	everybody bool
	users     map[string]bool
	groups    map[string]bool
}

// includes reports whether somebody with this canonical name and these groups
// is meant.
func (a audience) includes(user string, groups []string) bool {
	if a.everybody || a.users[user] {
		return true
	}
	for _, g := range groups {
		if a.groups[g] {
			return true
		}
	}
	return false
}

// admits reports whether the user is meant.
func (a audience) admits(u store.User) bool { return a.includes(u.Name, u.Groups) }

// groupNames returns the groups, sorted.
func (a audience) groupNames() []string { return slices.Sorted(maps.Keys(a.groups)) }

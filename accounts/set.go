package accounts

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// Changes are what is to be different about a user. What is nil stays.
type Changes struct {
	Name        *string
	DisplayName *string
	Email       *string // empty: none any more
	// Groups are all groups that the user is in from now on.
	Groups *[]string
}

// Set changes a user and returns what they are then. Sign-ons go on: names and
// groups are in force for them too. With another address, an invitation that was mailed to
// the former one is void. A name or address that somebody else has is
// ErrTaken; what can't be used is an error whose method Text says so to people.
func (d *Desk) Set(ctx context.Context, name string, c Changes) (store.User, error) {
	var after store.User
	err := d.change(ctx, name, func(tx store.Tx, user store.User) ([]store.Event, error) {
		after = user
		if err := c.apply(&after); err != nil {
			return nil, err
		}
		fields := difference(user, after)
		if len(fields) == 0 {
			return nil, nil
		}
		if err := d.giveUp(ctx, tx, user, after); err != nil {
			return nil, err
		}
		if user.Email != after.Email {
			// Whoever reads the former mailbox may be somebody else.
			if err := person.VoidMailed(ctx, tx, user.ID, d.clock()); err != nil {
				return nil, err
			}
		}
		return []store.Event{d.event(audit.UserChanged, after, fields)}, tx.UpdateUser(ctx, after)
	})
	if errors.Is(err, store.ErrConflict) {
		return store.User{}, ErrTaken
	}
	return after, err
}

// apply brings what is to be different to its canonical form and into the user.
func (c Changes) apply(user *store.User) (err error) {
	if c.Name != nil {
		if user.Name, err = identity.CanonicalName(*c.Name); err != nil {
			return err
		}
	}
	if c.DisplayName != nil {
		if user.DisplayName, err = identity.CheckDisplayName(*c.DisplayName); err != nil {
			return err
		}
	}
	if c.Email != nil {
		if user.Email, err = emailOrNone(*c.Email); err != nil {
			return err
		}
	}
	if c.Groups != nil {
		user.Groups, err = checkedGroups(*c.Groups)
	}
	return err
}

func emailOrNone(written string) (string, error) {
	if written == "" {
		return "", nil
	}
	return identity.CanonicalEmail(written)
}

func checkedGroups(written []string) ([]string, error) {
	var groups []string
	for _, g := range written {
		group, err := identity.CheckGroup(g)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	return groups, nil
}

// difference says, for the audit log, what about a user isn't as it was; nil
// where all is.
func difference(before, after store.User) audit.Fields {
	fields := make(audit.Fields)
	var changed []string
	if before.Name != after.Name {
		changed = append(changed, "name")
		fields[audit.WasCalled] = before.Name
	}
	if before.DisplayName != after.DisplayName {
		changed = append(changed, "display_name")
	}
	if before.Email != after.Email {
		changed = append(changed, "email")
	}
	if !slices.Equal(before.Groups, after.Groups) {
		changed = append(changed, "groups")
		fields[audit.Groups] = strings.Join(after.Groups, ",")
	}
	if len(changed) == 0 {
		return nil
	}
	fields[audit.Changed] = strings.Join(changed, ",")
	return fields
}

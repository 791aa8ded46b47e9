package person

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// The namespaces of the one-time records that a person has under way.
const (
	Flows       = "flow"
	Links       = "link"        // invitations, and the first administrator's
	AccessCodes = "access_code" // from an administrator
	Resets      = "reset"       // links by which a password is reset
	// Enrolments are the codes and tokens with which machines become their devices.
	Enrolments = "device_enrolment"
)

// MailedInvitation is what the records of links hold that were mailed to people.
const MailedInvitation = "mailed invitation"

// VoidMailed voids the invitations that were mailed to a user, at the time now.
func VoidMailed(ctx context.Context, tx store.Records, userID string, now time.Time) error {
	links, err := tx.RecordsOf(ctx, Links, userID, now)
	if err != nil {
		return fmt.Errorf("reading the links of a user: %w", err)
	}
	for _, link := range links {
		if string(link.Value) != MailedInvitation {
			continue
		}
		if _, err := tx.TakeRecord(ctx, Links, link.Key, now); err != nil {
			return fmt.Errorf("voiding a mailed invitation: %w", err)
		}
	}
	return nil
}

// EndAll ends all of a user's sign-ons, all of their flows except the one whose key is
// spared, if any, and everything that machines could still enrol with. Nothing that
// somebody else began before goes any further. It also forgets all of their browsers.
func (k *Keeper) EndAll(ctx context.Context, tx store.Tx, u store.User, spared, reason string, c Client) ([]store.Event, error) {
	ids, err := tx.EndSignOnsOf(ctx, u.ID, k.Clock(), reason)
	if err != nil {
		return nil, err
	}
	events := make([]store.Event, len(ids))
	for i, id := range ids {
		events[i] = k.SignOnEnded(u, id, reason, c)
	}
	if err := abandonFlows(ctx, tx, u.ID, spared); err != nil {
		return nil, err
	}
	forgotten, err := k.ForgetBrowsers(ctx, tx, u, c)
	return append(events, forgotten...), err
}

// ForgetBrowsers has none of a user's browsers remembered any more, and returns
// the events of it.
func (k *Keeper) ForgetBrowsers(ctx context.Context, tx store.Tx, u store.User, c Client) ([]store.Event, error) {
	all, err := tx.BrowsersOf(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	var events []store.Event
	for _, b := range all {
		if IsRemembered(b, k.Clock()) {
			events = append(events, k.BrowserForgotten(u, b, c))
		}
	}
	return events, tx.ForgetBrowsersOf(ctx, u.ID)
}

// BrowserForgotten makes the event of a browser of which its owner, or what they
// did, had it forgotten that it was remembered.
func (k *Keeper) BrowserForgotten(u store.User, b store.Browser, c Client) store.Event {
	return k.Own(audit.BrowserForgotten, u, c, audit.Fields{audit.Factor: string(b.RememberedFor)})
}

// SignOnEnded makes the event of a sign-on that its owner ended, or that ended
// by what they did.
func (k *Keeper) SignOnEnded(u store.User, id, reason string, c Client) store.Event {
	return k.Audit.Event(audit.SignOnEnded, u.ID, audit.Fields{
		audit.User: u.Name, audit.SignOn: audit.ShortID(id), audit.Reason: reason, audit.Address: c.Address,
	})
}

// AbandonFlows forgets what a person has under way in any browser, and what machines that
// they confirmed there could still enrol with.
func AbandonFlows(ctx context.Context, tx store.Records, userID string) error {
	return abandonFlows(ctx, tx, userID, "")
}

// abandonFlows is AbandonFlows, except for the flow whose key is spared, if any.
func abandonFlows(ctx context.Context, tx store.Records, userID, spared string) error {
	if err := tx.DeleteRecordsOf(ctx, Flows, userID, spared); err != nil {
		return fmt.Errorf("abandoning the flows of a user: %w", err)
	}
	if err := tx.DeleteRecordsOf(ctx, Enrolments, userID, ""); err != nil {
		return fmt.Errorf("abandoning the enrolments of a user: %w", err)
	}
	return nil
}

// Abandon forgets what a person has under way, and by what they could begin
// something: links to set up by or to reset the password, and access codes.
func Abandon(ctx context.Context, tx store.Records, userID string) error {
	if err := AbandonFlows(ctx, tx, userID); err != nil {
		return err
	}
	for _, namespace := range []string{Links, AccessCodes, Resets} {
		if err := tx.DeleteRecordsOf(ctx, namespace, userID, ""); err != nil {
			return fmt.Errorf("abandoning what a user has under way: %w", err)
		}
	}
	return nil
}

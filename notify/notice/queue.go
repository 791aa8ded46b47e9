package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/quota"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
	"github.com/portcullis-mfa/portcullis/undo"
)

const (
	// patience is for how long the delivery of a notice is tried.
	patience = 24 * time.Hour
	// digestAfter is how long a digest waits for more to tell.
	digestAfter = 24 * time.Hour
	// mostPrompt is how many prompt notices a user gets a day. What comes after them is
	// in the digest.
	mostPrompt = 10
	// settingUp is how long after a set-up the sign-in that ends it is no news.
	settingUp = time.Hour
	// placesKnown is how many earlier sign-ins say which places aren't new.
	placesKnown = 100
	// counted is the scope of the counters of prompt notices.
	counted = "notices"
)

// letter is what is kept, sealed, of a notice to one address.
type letter struct {
	To         string
	Happenings []happening
	// Undo is the token of the link by which the recipient ends what happened; empty:
	// there is none.
	Undo string
	// Last says that what follows today is in the digest.
	Last bool `json:",omitempty"`
}

// Queue stores the notices of events that are about to be kept, and reports whether
// there are any. It implements audit.Watched.
func (w *watched) Queue(ctx context.Context, events []store.Event) (bool, error) {
	told := make(map[string][]happening)
	var users []string
	for _, e := range events {
		h, ok := happeningOf(e)
		if !ok {
			continue
		}
		ok, err := w.isNews(ctx, &h)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		if told[e.UserID] == nil {
			users = append(users, e.UserID)
		}
		told[e.UserID] = append(told[e.UserID], h)
	}
	for _, id := range users {
		if err := w.tell(ctx, id, told[id]); err != nil {
			return false, fmt.Errorf("storing a notice: %w", err)
		}
	}
	return len(users) > 0, nil
}

// isNews decides about events that give a notice only sometimes, and says what is new
// about them.
func (w *watched) isNews(ctx context.Context, h *happening) (bool, error) {
	switch audit.Name(h.Name) {
	case audit.StepUpSucceeded, audit.SignInSucceeded:
	default:
		return true, nil
	}
	if slices.ContainsFunc(h.kinds(), w.IsStandby) {
		h.Text = "mail_notice.event.sign_in.by_standby"
		return true, nil
	}
	if h.Name == string(audit.StepUpSucceeded) {
		return false, nil
	}
	if h.field(audit.Browser) == audit.UnknownBrowser {
		h.Text = "mail_notice.event.sign_in.new_browser"
		setUp, err := w.endsSetUp(ctx, h.Event)
		return !setUp, err
	}
	h.Text = "mail_notice.event.sign_in.new_place"
	known, err := w.knowsPlace(ctx, h.Event)
	return !known, err
}

// endsSetUp reports whether a sign-in is the end of a set-up, of which its user hears
// anyway.
func (w *watched) endsSetUp(ctx context.Context, e store.Event) (bool, error) {
	newest := func(name audit.Name) (store.Event, error) {
		found, err := w.ListEvents(ctx, store.EventFilter{UserID: e.UserID, Name: string(name), Limit: 1})
		if err != nil || len(found) == 0 {
			return store.Event{}, err
		}
		return found[0], nil
	}
	setUp, err := newest(audit.UserSetUp)
	if err != nil || e.At.Sub(setUp.At) > settingUp {
		return false, err
	}
	signIn, err := newest(audit.SignInSucceeded)
	return signIn.At.Before(setUp.At) && same(setUp, e, audit.Address) && same(setUp, e, audit.UserAgent), err
}

func same(a, b store.Event, f audit.Field) bool { return a.Fields[string(f)] == b.Fields[string(f)] }

// knowsPlace reports whether the user signed in from the same region of a provider
// before. An address that can't be told is no news.
func (w *watched) knowsPlace(ctx context.Context, e store.Event) (bool, error) {
	place := netblock.Region(e.Fields[string(audit.Address)])
	if place == "" {
		return true, nil
	}
	before, err := w.ListEvents(ctx, store.EventFilter{UserID: e.UserID, Name: string(audit.SignInSucceeded), Limit: placesKnown})
	return slices.ContainsFunc(before, func(b store.Event) bool {
		return netblock.Region(b.Fields[string(audit.Address)]) == place
	}), err
}

// tell stores what a user is to hear of.
func (w *watched) tell(ctx context.Context, userID string, told []happening) error {
	user, err := w.UserByID(ctx, userID)
	if errors.Is(err, store.ErrNotFound) {
		return nil // they were deleted, and all that is about them
	}
	if err != nil || user.Status == store.UserDisabled {
		return err
	}
	addresses, err := w.addresses(ctx, user)
	if err != nil || len(addresses) == 0 {
		return err
	}
	highest := slices.MaxFunc(told, func(a, b happening) int { return int(a.class - b.class) }).class
	isLast := false
	if highest == prompt {
		if isLast, err = w.charge(ctx, userID); errors.Is(err, errTooMany) {
			highest = daily
		} else if err != nil {
			return err
		}
	}
	lane := store.LaneCritical
	switch highest {
	case daily:
		return w.queueDigest(ctx, userID, told[0].At)
	case prompt:
		lane, addresses = store.LaneNotices, addresses[:1]
	}
	slices.SortStableFunc(told, func(a, b happening) int { return int(b.class - a.class) })
	undo, err := w.makeUndo(ctx, userID, told)
	if err != nil {
		return err
	}
	entitled, err := w.entitled(ctx, userID, told, addresses)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		l := letter{To: address, Happenings: told, Last: isLast}
		if contains(entitled, address) {
			l.Undo = undo
		}
		if err := w.queueLetter(ctx, userID, lane, l); err != nil {
			return err
		}
	}
	return nil
}

// entitled returns the addresses that get a link: a change of the address for codes can be
// undone only from the former one, however often it was changed since.
func (w *watched) entitled(ctx context.Context, userID string, told []happening, addresses []string) ([]string, error) {
	var former []string
	for _, h := range told {
		restorable, err := w.restorable(ctx, userID, h)
		if err != nil {
			return nil, err
		}
		for _, c := range restorable {
			if w.IsMailed(c.Kind) {
				former = append(former, w.addressOf(c))
			}
		}
	}
	if len(former) == 0 {
		return addresses, nil
	}
	return former, nil
}

// restorable returns what can be brought back in place of a credential that was added: what
// there was before the first of several changes.
func (w *watched) restorable(ctx context.Context, userID string, h happening) (found []store.Credential, err error) {
	if audit.Name(h.Name) != audit.FactorEnrolled {
		return nil, nil
	}
	all, err := w.CredentialsOf(ctx, userID)
	for _, c := range all {
		if string(c.Kind) == h.field(audit.Factor) && credentials.IsRestorable(c, w.Clock()) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b store.Credential) int { return a.Created.Compare(b.Created) })
	return found[:min(1, len(found))], err
}

// makeUndo keeps what the recipient can end, and returns the token for it; empty: there is
// nothing. What belongs to the set-up of an account is its only way in.
func (w *watched) makeUndo(ctx context.Context, userID string, told []happening) (string, error) {
	target, err := w.targetOf(ctx, userID, told)
	if err != nil || target.IsEmpty() {
		return "", err
	}
	value, err := token.New(w.Random)
	if err != nil {
		return "", err
	}
	return value, undo.Keep(ctx, w.Tx, userID, value, target, w.Clock())
}

// targetOf returns what the recipient of a notice can end: credentials and app passwords
// that were added, or the sign-on of a sign-in.
func (w *watched) targetOf(ctx context.Context, userID string, told []happening) (t undo.Target, err error) {
	for _, h := range told {
		switch audit.Name(h.Name) {
		case audit.UserSetUp:
			return undo.Target{}, nil
		case audit.FactorEnrolled:
			for _, c := range w.created {
				if c.UserID == userID && string(c.Kind) == h.field(audit.Factor) {
					t.Credentials, t.Kinds = append(t.Credentials, c.ID), append(t.Kinds, c.Kind)
				}
			}
			restorable, err := w.restorable(ctx, userID, h)
			if err != nil {
				return t, err
			}
			for _, c := range restorable {
				t.Restored = append(t.Restored, c.ID)
			}
		case audit.TokenCreated:
			for _, created := range w.tokens {
				if created.UserID == userID {
					t.AppPasswords = append(t.AppPasswords, created.ID)
				}
			}
		case audit.SignInSucceeded, audit.StepUpSucceeded:
			if t.SignOn, err = w.signOnOf(ctx, userID, h.field(audit.SignOn)); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

// signOnOf returns the live sign-on with a short form; empty: there is none.
func (w *watched) signOnOf(ctx context.Context, userID, short string) (string, error) {
	live, err := session.ListLive(ctx, w.Tx, userID, w.Clock())
	for _, s := range live {
		if audit.ShortID(s.ID) == short {
			return s.ID, err
		}
	}
	return "", err
}

var errTooMany = errors.New("there have been too many notices")

// charge counts a prompt notice, and reports whether it is the last one of a day.
func (w *watched) charge(ctx context.Context, userID string) (isLast bool, err error) {
	counts, err := quota.Charge(ctx, w.Tx, counted, []quota.Quota{{Key: userID, Most: mostPrompt, Per: 24 * time.Hour}}, w.Clock())
	if exceeded := new(quota.Exceeded); errors.As(err, &exceeded) {
		return false, errTooMany
	}
	return counts[userID] == mostPrompt, err
}

func (w *watched) queueLetter(ctx context.Context, userID string, lane store.Lane, l letter) error {
	content, err := json.Marshal(l)
	if err != nil {
		return err
	}
	ref, err := token.New(w.Random)
	if err != nil {
		return err
	}
	sealed, err := w.Sealer.Seal(content, sealedTo(userID, ref))
	if err != nil {
		return err
	}
	return w.Outbox.Queue(ctx, w.Tx, store.Message{Lane: lane, Purpose: Purpose, Ref: ref, UserID: userID, Data: sealed}, patience)
}

// sealedTo binds a notice to its message.
func sealedTo(userID, ref string) []byte { return []byte("notice\x00" + userID + "\x00" + ref) }

// queueDigest has a user get a digest of what happened since a time, unless one is waiting
// already.
func (w *watched) queueDigest(ctx context.Context, userID string, since time.Time) error {
	waiting, err := w.NewestMessage(ctx, DigestPurpose, userID)
	now := w.Clock()
	if err == nil && waiting.State == store.MessageWaiting && waiting.Attempts == 0 && now.Before(waiting.Due) {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return w.Outbox.Queue(ctx, w.Tx, store.Message{
		Lane: store.LaneBulk, Purpose: DigestPurpose, Ref: userID, UserID: userID, Due: now.Add(digestAfter), Data: []byte(since.Format(time.RFC3339Nano)),
	}, patience)
}

func contains(addresses []string, address string) bool {
	return slices.ContainsFunc(addresses, func(a string) bool { return strings.EqualFold(a, address) })
}

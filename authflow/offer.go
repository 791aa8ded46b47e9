package authflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
)

// Whoever signs in by something weaker is offered a passkey now and then, once
// they are in. What the store keeps of it is a record for each user that says
// until when they are left in peace.

const (
	// OfferRest is how long somebody isn't offered a passkey again after
	// they said "not now".
	OfferRest = 30 * 24 * time.Hour
	// OfferPause is how long they aren't after they were, whatever they
	// said: who closes the page isn't asked at each sign-in.
	OfferPause = 24 * time.Hour

	offerNamespace = "passkey_offer"
)

// worthOffering decides whether somebody who has just signed in is offered a
// passkey: a pure function of the flow, of all that they have, lost ones too,
// and of the factors that are configured. They have shown two factors and have
// no security key or passkey, or one for another RP ID alone; they are in a
// browser of their own that can keep one; and they aren't busy already: with something that they set up on the
// way, or with an app that opens by a key alone and tells them so.
func worthOffering(f Flow, all []store.Credential, set factors.Set) bool {
	if f.Kind != SignIn || f.Shared || !f.CanPasskey || f.Ask.Level >= assurance.PhishingResistant || set.First(isResistant) == "" {
		return false
	}
	if assurance.Of(assurance.Shown(f.Proofs), set.Weights()) < assurance.Multi {
		return false
	}
	return !slices.ContainsFunc(all, func(c store.Credential) bool {
		return isResistant(set.Traits(c.Kind)) && set.Works(c.Kind, c.Realm) || !c.Created.Before(f.Started)
	})
}

// offerPasskey reports whether the person in a finished flow is to be offered a
// passkey, and notes that they were.
func (e *Engine) offerPasskey(ctx context.Context, tx store.Tx, f Flow) (bool, error) {
	if !e.Rules.UpgradeOffer || !e.Rules.offers(e.Vault.Factors.First(isResistant), f.Platform) {
		return false, nil
	}
	all, err := tx.CredentialsOf(ctx, f.UserID)
	if err != nil || !worthOffering(f, all, e.Vault.Factors) {
		return false, err
	}
	_, err = tx.GetRecord(ctx, offerNamespace, f.UserID, e.Clock())
	if !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	return true, e.restOffer(ctx, tx, f.UserID, OfferPause)
}

// restOffer leaves a user in peace for a while, from now on.
func (e *Engine) restOffer(ctx context.Context, tx store.Tx, userID string, rest time.Duration) error {
	if err := tx.DeleteRecordsOf(ctx, offerNamespace, userID, ""); err != nil {
		return err
	}
	return tx.PutRecord(ctx, store.Record{
		Namespace: offerNamespace, Key: userID, Owner: userID, Expires: e.Clock().Add(rest),
	})
}

// DeclinePasskey has a user offered no passkey for OfferRest.
func (e *Engine) DeclinePasskey(ctx context.Context, u store.User) error {
	err := e.Store.Atomically(ctx, func(tx store.Tx) error { return e.restOffer(ctx, tx, u.ID, OfferRest) })
	if err != nil {
		return fmt.Errorf("noting that a user wants no passkey now: %w", err)
	}
	return nil
}

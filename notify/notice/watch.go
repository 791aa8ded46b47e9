package notice

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// Watch returns a transaction that notes which addresses are added and removed, for the
// notices of what happens in it. It implements audit.Notices.
func (n *Notices) Watch(tx store.Tx) audit.Watched {
	return &watched{Tx: tx, Notices: n, added: make(map[string]bool)}
}

// watched is one transaction.
type watched struct {
	store.Tx
	*Notices
	// added are the ids of the users and credentials whose address is new.
	added map[string]bool
	// created are the credentials that are new.
	created []store.Credential
	// tokens are the app passwords that are new.
	tokens []store.AccessToken
	// former are the addresses that people had before.
	former []owned
}

// owned is an address of a user.
type owned struct{ userID, address string }

// UpdateUser notes an address that is replaced.
func (w *watched) UpdateUser(ctx context.Context, u store.User) error {
	before, err := w.UserByID(ctx, u.ID)
	if err == nil {
		err = w.Tx.UpdateUser(ctx, u)
	}
	if err != nil || before.Email == u.Email {
		return err
	}
	w.added[u.ID] = true
	w.former = append(w.former, owned{u.ID, before.Email})
	return nil
}

// CreateCredential notes an address that is added.
func (w *watched) CreateCredential(ctx context.Context, c store.Credential) error {
	if w.IsMailed(c.Kind) {
		w.added[c.ID] = true
	}
	w.created = append(w.created, c)
	return w.Tx.CreateCredential(ctx, c)
}

// CreateAccessToken notes an app password that is added.
func (w *watched) CreateAccessToken(ctx context.Context, t store.AccessToken) error {
	w.tokens = append(w.tokens, t)
	return w.Tx.CreateAccessToken(ctx, t)
}

// UpdateCredential notes an address that is replaced or no longer used.
func (w *watched) UpdateCredential(ctx context.Context, c store.Credential) error {
	if w.IsMailed(c.Kind) {
		if err := w.noteFormer(ctx, c.ID); err != nil {
			return err
		}
		if w.addressOf(c) != w.former[len(w.former)-1].address {
			w.added[c.ID] = true
		}
	}
	return w.Tx.UpdateCredential(ctx, c)
}

// DeleteCredential notes an address that is removed.
func (w *watched) DeleteCredential(ctx context.Context, id string, version int64) error {
	c, err := w.CredentialByID(ctx, id)
	if err == nil && w.IsMailed(c.Kind) {
		err = w.noteFormer(ctx, id)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return w.Tx.DeleteCredential(ctx, id, version)
}

func (w *watched) noteFormer(ctx context.Context, id string) error {
	c, err := w.CredentialByID(ctx, id)
	if err != nil {
		return err
	}
	address := ""
	if c.State == store.CredentialActive && !w.added[id] {
		address = w.addressOf(c)
	}
	w.former = append(w.former, owned{c.UserID, address})
	return nil
}

// addressOf returns the address that codes are mailed to. One that can't be read must
// not keep an account from being changed, or mended.
func (n *Notices) addressOf(c store.Credential) string {
	address, err := n.MailAddress(c)
	if err != nil {
		n.Logger.Error("reading the address of a credential: it gets no notices", zap.String("credential", c.ID), zap.Error(err))
	}
	return address
}

// addresses returns where notices to a user go, the main address first.
func (w *watched) addresses(ctx context.Context, u store.User) ([]string, error) {
	var found []string
	add := func(address string) {
		if address != "" && !contains(found, address) {
			found = append(found, address)
		}
	}
	if !w.added[u.ID] {
		add(u.Email)
	}
	for _, f := range w.former {
		if f.userID == u.ID {
			add(f.address)
		}
	}
	all, err := w.CredentialsOf(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		isInUse := c.State == store.CredentialActive || c.State == store.CredentialReplaced && w.Clock().Before(c.ProbationUntil)
		if w.IsMailed(c.Kind) && isInUse && !w.added[c.ID] {
			add(w.addressOf(c))
		}
	}
	return found, nil
}

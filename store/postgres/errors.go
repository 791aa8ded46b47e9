package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/portcullis-mfa/portcullis/store"
)

// failed names what was being done when err came up and brings err into the
// terms of package store. A nil err stays nil.
func failed(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = store.ErrNotFound
	}
	if ended := ctx.Err(); ended != nil {
		// What the driver says of an interrupted statement is only the consequence.
		err = ended
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// code returns PostgreSQL's code of an error (SQLSTATE), or "".
func code(err error) string {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return failure.Code
	}
	return ""
}

// isConflict reports whether a transaction failed only because of others that ran at
// the same time. Keys are looked for before they are used, so one that is taken, or
// missing, all the same was taken or deleted meanwhile.
func isConflict(err error) bool {
	switch code(err) {
	case "40001", "40P01", // could not serialize, deadlock
		"23505", "23503": // a key is taken, a user is missing
		return true
	}
	return false
}

// isBroken reports whether a connection broke.
func isBroken(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// explain turns an error that came up while opening a store into one that says what
// the operator can do.
func explain(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("the database doesn't answer: check its address, and that it runs: %w", errors.Join(ended, err))
	}
	advice := ""
	switch code(err) {
	case "28P01", "28000":
		advice = "the database refuses the user: check the name and the password in the address, and pg_hba.conf on the server"
	case "3D000":
		advice = "the database doesn't exist: create it (CREATE DATABASE portcullis OWNER portcullis)"
	case "42501":
		advice = "the user may not make tables: make it the owner of the database (ALTER DATABASE portcullis OWNER TO portcullis)"
	case "25006":
		advice = "the database can only be read: name the server that can be written to"
	case "53300":
		advice = "the server has no connection left: raise its max_connections, or lower pool_max_conns in the address"
	default:
		var refused *pgconn.ConnectError
		if !errors.As(err, &refused) {
			return err
		}
		advice = "the database can't be reached: check its address, and that it runs"
	}
	return fmt.Errorf("%s: %w", advice, err)
}

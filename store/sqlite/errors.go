package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/portcullis-mfa/portcullis/store"
)

// failed names what was being done when err came up and brings err into the
// terms of package store. A nil err stays nil.
func failed(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	switch extendedCode(err) {
	case codes.SQLITE_CONSTRAINT_UNIQUE, codes.SQLITE_CONSTRAINT_PRIMARYKEY:
		err = store.ErrConflict
	case codes.SQLITE_CONSTRAINT_FOREIGNKEY:
		err = store.ErrNotFound
	}
	if extendedCode(err)&0xff == codes.SQLITE_BUSY {
		err = fmt.Errorf("%w: %w", store.ErrBusy, err)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if ended := ctx.Err(); ended != nil {
		// What the driver says of an interrupted statement, or of one in a
		// transaction that was rolled back under it, is only the consequence.
		err = ended
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// explain turns an error that came up while opening a file into one that says
// what the operator can do.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	advice := ""
	switch extendedCode(err) & 0xff {
	case codes.SQLITE_NOTADB:
		advice = "the file is not an SQLite database; " + adviceRestore
	case codes.SQLITE_CORRUPT:
		advice = "the file is damaged; " + adviceRestore
	case codes.SQLITE_CANTOPEN, codes.SQLITE_PERM, codes.SQLITE_READONLY, codes.SQLITE_AUTH:
		advice = "this process can't read and write the file; check the owner and mode of it and of its directory, and that the disk isn't mounted read-only"
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		advice = "another process keeps the file locked; stop it, or wait until it is done"
	case codes.SQLITE_FULL:
		advice = "the disk is full; make room and start again"
	case codes.SQLITE_IOERR:
		advice = "the disk fails to read or write; check it and the system's log"
	default:
		return err
	}
	return fmt.Errorf("%s: %w", advice, err)
}

const adviceRestore = "restore it from a backup, or move it away to begin with an empty store (all users have to be made anew then)"

// extendedCode returns SQLite's extended result code in err, or 0.
func extendedCode(err error) int {
	var failure *sqlite.Error
	if errors.As(err, &failure) {
		return failure.Code()
	}
	return 0
}

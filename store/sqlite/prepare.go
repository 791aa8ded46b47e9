package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/portcullis-mfa/portcullis/fileaccess"
)

const (
	fileMode      = 0o600
	directoryMode = 0o700
)

// applicationID marks an SQLite file as a store of Portcullis ("Pcls"), see
// https://www.sqlite.org/pragma.html#pragma_application_id.
const applicationID = 0x50636c73

var setApplicationID = fmt.Sprintf(`PRAGMA application_id = %d`, applicationID)

// prepare makes sure that there is a sound store of the current schema at
// path, which is held.
func prepare(ctx context.Context, path string, migrations migrationFiles) error {
	exists, err := find(path)
	if err != nil {
		return err
	}
	if !exists {
		return create(ctx, path, migrations)
	}
	return bringUp(ctx, path, migrations)
}

// find reports whether there is a file at path, and refuses what can't be a
// store. It doesn't open the file: closing it again would drop the locks that
// SQLite holds on it for this process.
func find(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, refuseRemains(path)
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, errors.New("it isn't a file; name a file, or a path where one can be created")
	}
	if info.Size() == 0 {
		return false, errors.New("the file is empty, and a store never is; " + adviceRestore)
	}
	if err := restrict(path); err != nil {
		return false, err
	}
	return true, fileaccess.Trusted(path)
}

// refuseRemains refuses a path without a file where something shows that there
// has been one.
func refuseRemains(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return errors.New("it is a link to a file that doesn't exist; mount the disk that the file is on, or remove the link to start with an empty store")
	}
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("the file is gone but its log %s-wal exists; put the file back, or move the log away to start with an empty store", path)
	}
	return nil
}

// restrict takes the access of others from the store's files.
func restrict(path string) error {
	if runtime.GOOS == "windows" {
		return nil // there the directory's access list rules
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.Mode().Perm()&^fileMode != 0 {
			err = os.Chmod(name, fileMode)
		}
		if err != nil {
			return fmt.Errorf("keeping others from reading the store: %w", err)
		}
	}
	return nil
}

// create makes an empty store under another name and puts it in place when it
// is whole, so that a file at path is never the beginning of a store.
func create(ctx context.Context, path string, migrations migrationFiles) error {
	unfinished := path + ".new"
	if err := removeDatabase(unfinished); err != nil {
		return err
	}
	if err := createEmpty(unfinished); err != nil {
		return fmt.Errorf("making the file: %w", err)
	}
	if err := fill(ctx, unfinished, migrations); err != nil {
		return errors.Join(fmt.Errorf("making an empty store: %w", explain(ctx, err)), removeDatabase(unfinished))
	}
	return putInPlace(unfinished, path)
}

func fill(ctx context.Context, path string, migrations migrationFiles) (err error) {
	db, err := openConnections(path, upkeepConnection, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, setApplicationID); err != nil {
		return err
	}
	if err := migrations.apply(ctx, db); err != nil {
		return err
	}
	if err := drawIncarnation(ctx, db); err != nil {
		return err
	}
	return logAhead(ctx, db)
}

// bringUp checks the store at path and brings its schema up to date.
func bringUp(ctx context.Context, path string, migrations migrationFiles) (err error) {
	db, err := openConnections(path, upkeepConnection, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := checkOurs(ctx, db); err != nil {
		return err
	}
	version, latest, err := migrations.versions(ctx, db)
	if err != nil {
		return explain(ctx, err)
	}
	if version > latest {
		if err := checkUsable(ctx, db, version, latest); err != nil {
			return fmt.Errorf("%w; start the newer program, or restore the copy that was made before the schema changed (%s.before-v…)", err, path)
		}
	}
	if err := checkSound(ctx, db); err != nil {
		return err
	}
	if version < latest {
		if err := copyAside(ctx, db, path, latest); err != nil {
			return fmt.Errorf("copying the store before its schema changes: %w", explain(ctx, err))
		}
		if err := migrations.apply(ctx, db); err != nil {
			return explain(ctx, err)
		}
	}
	return logAhead(ctx, db)
}

// checkUsable refuses a store whose schema is newer than the latest that this
// program knows, unless the newer ones have all that it needs.
func checkUsable(ctx context.Context, db *sql.DB, version, latest int64) error {
	var oldest int64
	err := db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'oldest_program'`).Scan(&oldest)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return explain(ctx, err)
	}
	if err == nil && oldest <= latest {
		return nil
	}
	return fmt.Errorf("its schema is version %d, and this program knows versions up to %d", version, latest)
}

// logAhead turns the write-ahead log on. The file remembers it, but a copy
// made aside doesn't have it. It needs the file for itself for a moment, so it
// is done here and not by each connection.
func logAhead(ctx context.Context, db *sql.DB) error {
	var mode string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode); err != nil {
		return explain(ctx, err)
	}
	if mode != "wal" {
		return fmt.Errorf("the write-ahead log can't be used here (SQLite stays in mode %q); put the store on a local disk", mode)
	}
	return nil
}

// checkOurs refuses files that SQLite can't read and write, and those of
// other programs.
func checkOurs(ctx context.Context, db *sql.DB) error {
	var id int64
	if err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return explain(ctx, err)
	}
	if id != applicationID {
		return errors.New("the file is an SQLite database, but not a store of Portcullis; name another file")
	}
	return explain(ctx, tryWriting(ctx, db))
}

// tryWriting writes what is there already and takes it back. Beginning a
// transaction would not do: on a file that can only be read, SQLite lets it
// pass as one that reads.
func tryWriting(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, setApplicationID)
	return errors.Join(err, tx.Rollback())
}

// checkSound looks for damage in all tables but that of events, which decides
// nothing and may be large.
func checkSound(ctx context.Context, db *sql.DB) error {
	tables, err := collect(ctx, db, statement{
		sql: `SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'events' ORDER BY name`,
	}, scanText)
	if err != nil {
		return explain(ctx, err)
	}
	for _, table := range tables {
		var result string
		err := db.QueryRowContext(ctx, fmt.Sprintf(`PRAGMA quick_check('%s')`, table)).Scan(&result)
		if err != nil {
			return explain(ctx, err)
		}
		if result != "ok" {
			return fmt.Errorf("the file is damaged (table %s: %s); %s", table, result, adviceRestore)
		}
	}
	return nil
}

// copyAside writes a copy of the store that db is connected to, before its
// schema becomes the given version. A copy that is there already is kept.
func copyAside(ctx context.Context, db *sql.DB, path string, version int64) error {
	final, err := freeName(copyName(path, version))
	if err != nil {
		return err
	}
	return copyTo(ctx, db, final, path+".copying")
}

// copyTo writes a copy of the store under an unfinished name and then puts it in
// place.
func copyTo(ctx context.Context, db *sql.DB, final, unfinished string) error {
	if err := removeDatabase(unfinished); err != nil {
		return err
	}
	if err := createEmpty(unfinished); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, unfinished); err != nil {
		return errors.Join(err, removeDatabase(unfinished))
	}
	return putInPlace(unfinished, final)
}

func copyName(path string, version int64) string {
	return fmt.Sprintf("%s.before-v%d", path, version)
}

// freeName returns name, with a number added if there is such a file.
func freeName(name string) (string, error) {
	candidate := name
	for number := 2; ; number++ {
		_, err := os.Lstat(candidate)
		if errors.Is(err, fs.ErrNotExist) {
			return candidate, nil
		}
		if err != nil {
			return "", err
		}
		candidate = fmt.Sprintf("%s-%d", name, number)
	}
}

func createEmpty(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	return file.Close()
}

// removeDatabase removes a file that was never put in place, with what SQLite
// may have left beside it.
func removeDatabase(path string) error {
	for _, name := range []string{path, path + "-journal", path + "-wal", path + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what an earlier start left: %w", err)
		}
	}
	return nil
}

// putInPlace renames a closed, whole file so that it survives a power cut.
func putInPlace(from, to string) error {
	if err := flush(from); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // directories can't be synced there
	}
	return flush(filepath.Dir(to))
}

func flush(path string) error {
	flags := os.O_RDWR
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		flags = os.O_RDONLY
	}
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

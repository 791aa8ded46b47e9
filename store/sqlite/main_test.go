package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/portcullis-mfa/portcullis/store"
)

// childTask names the environment variable that makes the test binary a child
// process of a test, with the store's path as its only argument.
const childTask = "PORTCULLIS_STORE_CHILD"

var childTasks = map[string]func(path string) error{
	"open":  openAndTell,
	"hold":  holdUntilKilled,
	"copy":  func(path string) error { return copyFrom(context.Background(), path) },
	"write": writeUntilKilled,
}

func TestMain(m *testing.M) {
	if task, found := childTasks[os.Getenv(childTask)]; found {
		if err := task(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// child returns the command that runs a task in another process.
func child(t *testing.T, task, path string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, path)
	command.Env = append(os.Environ(), childTask+"="+task)
	command.Stderr = os.Stderr
	return command
}

// openAndTell prints the incarnation of the store that it opened.
func openAndTell(path string) error {
	db, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	fmt.Println(db.Incarnation())
	return db.Close()
}

// holdUntilKilled opens the store, says so, and keeps it open.
func holdUntilKilled(path string) error {
	db, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	fmt.Println(db.Incarnation())
	_, err = io.Copy(io.Discard, os.Stdin) // which the test never closes
	return errors.Join(err, db.Close())
}

// copyFrom copies the store as the command line of SQLite does, which knows
// nothing of our lock, to PATH.copy.
func copyFrom(ctx context.Context, path string) error {
	db, err := openConnections(path, connectionKind{}, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, path+".copy")
	return err
}

// writeUntilKilled writes pairs of rows from several goroutines and prints
// each pair's key when its write was acknowledged.
func writeUntilKilled(path string) error {
	ctx := context.Background()
	db, err := Open(ctx, path)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	for writer := range 4 {
		running.Go(func() {
			for i := 0; err == nil; i++ {
				key := fmt.Sprintf("%d-%d-%d", os.Getpid(), writer, i)
				if err := putPair(ctx, db, key); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Println(key)
			}
		})
	}
	running.Wait()
	return nil
}

func putPair(ctx context.Context, db *DB, key string) error {
	return db.Atomically(ctx, func(tx store.Tx) error {
		err := tx.PutRecord(ctx, store.Record{Namespace: "pair", Key: key, Value: []byte(key), Expires: eternity})
		if err != nil {
			return err
		}
		return tx.PutAttempts(ctx, store.Attempts{Scope: "pair", Key: key, Failures: 1})
	})
}

var (
	now      = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	eternity = now.AddDate(1000, 0, 0)
)

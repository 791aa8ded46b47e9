package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// readEvery is how often the feed is read where notifications arrive, and
	// pollEvery where none has for silentAfter: behind a pooler, LISTEN succeeds and
	// nothing comes.
	readEvery, pollEvery, silentAfter = 500 * time.Millisecond, 250 * time.Millisecond, 3 * time.Second
	// readGap is how much later than the last the next read begins at the earliest, and
	// pokeGap that of notifications.
	readGap, pokeGap = 10 * time.Millisecond, 10 * time.Millisecond
	// pulseEvery is how often a process commits a row of its own: it shows that the
	// primary commits, and bounds what can be lost without anybody noticing.
	pulseEvery = time.Second
	// feedWithin is how long a read of the feed may take.
	feedWithin = 2 * time.Second
	// keepChanges is how long changes stay in the feed.
	keepChanges = 10 * time.Minute
)

const channel = `portcullis_changes`

// errChangesLost says that the database doesn't hold all that it has confirmed.
var errChangesLost = errors.New("the database has lost changes that it had confirmed, as can happen when a standby takes over: everybody has to sign in again")

// start learns how far the feed is: what comes after is told.
func (f *feed) start(ctx context.Context) error {
	marks, err := list(ctx, "reading the feed of changes", f.db.pool, statement{sql: `SELECT shard, n, stamp FROM position`}, scanShardMark)
	if err != nil {
		return err
	}
	f.cursor = make(map[int32]mark, len(marks))
	for _, m := range marks {
		f.cursor[m.shard] = m.mark
	}
	return nil
}

type shardMark struct {
	shard int32
	mark
}

func scanShardMark(row scanner) (m shardMark, err error) {
	err = row.Scan(&m.shard, &m.n, &m.stamp)
	return m, err
}

// readNow has the feed read soon.
func (f *feed) readNow() {
	if wake := f.wake.Load(); wake != nil {
		(*wake)()
	}
}

// read reads the feed until the context ends.
func (f *feed) read(ctx context.Context) {
	var connection *pgx.Conn
	defer func() { hangUp(connection) }()
	lastRead := time.Now() // of the position where it begins
	var notified time.Time
	for ctx.Err() == nil {
		err := error(nil)
		if connection == nil {
			connection, err = f.dial(ctx)
			notified = time.Now()
		}
		began := time.Now()
		if err == nil {
			err = f.readOnce(ctx, connection, began.Sub(lastRead))
		}
		if err != nil {
			if !f.db.pool.silent.Swap(true) && ctx.Err() == nil {
				f.db.warn("reading the feed of changes: until it can be read, sign-ons are served from memory for max_staleness at the longest", err)
			}
			hangUp(connection)
			connection = nil
			pause(ctx, pollEvery)
			continue
		}
		f.db.pool.silent.Store(false)
		lastRead = began
		pause(ctx, time.Until(began.Add(readGap)))
		if f.wait(ctx, connection, notified) {
			notified = time.Now()
		}
	}
}

// dial connects to what the feed is read from.
func (f *feed) dial(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialWithin)
	defer cancel()
	connection, err := pgx.ConnectConfig(ctx, f.connect)
	if err != nil || !f.listens {
		return connection, err
	}
	if _, err := connection.Exec(ctx, `LISTEN `+channel); err != nil {
		hangUp(connection)
		return nil, err
	}
	return connection, nil
}

func hangUp(connection *pgx.Conn) {
	if connection == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = connection.Close(ctx)
}

// wait waits until there may be something to read, and reports whether a
// notification said so.
func (f *feed) wait(ctx context.Context, connection *pgx.Conn, notified time.Time) bool {
	interval := readEvery
	if !f.listens || time.Since(notified) > silentAfter {
		interval = pollEvery
	}
	waiting, cancel := context.WithTimeout(ctx, interval)
	defer cancel()
	f.wake.Store(&cancel)
	_, err := connection.WaitForNotification(waiting)
	// An error may be that of a broken connection, which the next read meets.
	return err == nil
}

// row is what a read of the feed returns: a change that is new, or a shard of which
// nothing is.
type row struct {
	shard    int32
	n, stamp *int64  // where the shard is now; nil: it is gone
	change   *int64  // the number of the change; nil: there is none
	marked   *int64  // its stamp
	told     *string // what was changed
	same     bool    // the change that was read last is still there
}

const selectFeed = `
	SELECT coalesce(p.shard, l.shard), p.n, p.stamp, c.n, c.stamp, c.told,
		l.n IS NULL OR (p.n IS NOT NULL AND CASE WHEN p.n = l.n THEN p.stamp = l.stamp
			ELSE EXISTS (SELECT FROM changes o WHERE (o.shard, o.n, o.stamp) = (l.shard, l.n, l.stamp)) END)
	FROM position p
		FULL JOIN unnest($1::integer[], $2::bigint[], $3::bigint[]) AS l (shard, n, stamp) ON l.shard = p.shard
		LEFT JOIN changes c ON c.shard = p.shard AND c.n > coalesce(l.n, 0)
	WHERE p.n IS DISTINCT FROM l.n OR p.stamp IS DISTINCT FROM l.stamp
	ORDER BY 1, c.n`

// readOnce reads what is new and tells it. away is how long ago the last read was.
func (f *feed) readOnce(ctx context.Context, connection *pgx.Conn, away time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, feedWithin)
	defer cancel()
	began := time.Now()
	shards, numbers, stamps := f.marks()
	rows, err := collect(ctx, connection, statement{selectFeed, []any{shards, numbers, stamps}}, scanFeedRow)
	if err != nil {
		return err
	}
	cursor, told, ok := f.follow(rows, began)
	if !ok {
		return f.recover(ctx, away, isSwept(rows, f.cursor, away))
	}
	f.tellOthers(ctx, told)
	f.cursor = cursor
	f.each(func(follower store.Follower) { follower.Heartbeat(began) })
	return nil
}

func scanFeedRow(r scanner) (read row, err error) {
	err = r.Scan(&read.shard, &read.n, &read.stamp, &read.change, &read.marked, &read.told, &read.same)
	return read, err
}

// marks returns the cursor as columns.
func (f *feed) marks() (shards []int32, numbers, stamps []int64) {
	for shard, m := range f.cursor {
		shards, numbers, stamps = append(shards, shard), append(numbers, m.n), append(stamps, m.stamp)
	}
	return shards, numbers, stamps
}

// follow returns how far the rows lead and what others changed. It reports false if
// something is missing that was committed.
func (f *feed) follow(rows []row, began time.Time) (cursor map[int32]mark, told []string, ok bool) {
	cursor = make(map[int32]mark, len(f.cursor))
	for shard, m := range f.cursor {
		cursor[shard] = m
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rows {
		last := cursor[r.shard]
		if !r.same || r.change == nil || *r.change != last.n+1 {
			return nil, nil, false
		}
		cursor[r.shard] = mark{*r.change, *r.marked}
		if f.isNews(*r.marked) && *r.told != "" {
			told = append(told, *r.told)
		}
	}
	for _, r := range rows {
		if cursor[r.shard] != (mark{*r.n, *r.stamp}) {
			return nil, nil, false
		}
	}
	for _, own := range f.own {
		if !own.acknowledged.IsZero() && own.acknowledged.Before(began) {
			return nil, nil, false
		}
	}
	return cursor, told, true
}

// isNews notes that a change was seen, and reports whether the followers may not
// have been told of it: it is another process's, or is being committed.
func (f *feed) isNews(stamp int64) bool {
	own, isOwn := f.own[stamp]
	if !isOwn {
		return true
	}
	if own.acknowledged.IsZero() {
		own.seen = true
		return true
	}
	delete(f.own, stamp)
	return false
}

// isSwept reports whether all that is missing was swept while this process was away.
func isSwept(rows []row, cursor map[int32]mark, away time.Duration) bool {
	if away < keepChanges {
		return false
	}
	for _, r := range rows {
		if r.n == nil || *r.n <= cursor[r.shard].n {
			return false
		}
	}
	return true
}

// renewedKind is told with the incarnation of a life that begins.
const renewedKind store.ChangeKind = "renewed"

// tellOthers tells what other processes changed.
func (f *feed) tellOthers(ctx context.Context, told []string) {
	for _, text := range told {
		var changes []store.Change
		if err := json.Unmarshal([]byte(text), &changes); err != nil {
			// A newer program's, perhaps: whatever it was, it is no longer known.
			f.each(func(follower store.Follower) { follower.Lost() })
			continue
		}
		for i, c := range changes {
			if c.Kind == renewedKind {
				if err := f.db.learnLife(ctx); err != nil {
					f.db.warn("learning of the store's renewal", err)
				}
				changes[i] = untold
			}
		}
		f.tell(changes)
	}
}

// recover begins anew where changes are missing. Unless they were merely swept, the
// store's life ends: it may have forgotten what was revoked.
func (f *feed) recover(ctx context.Context, away time.Duration, swept bool) error {
	f.each(func(follower store.Follower) { follower.Lost() })
	if !swept {
		f.db.warn("following the changes", errChangesLost)
		if err := f.db.Renew(ctx, f.db.Incarnation()); err != nil && !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("beginning another life of the store: %w", err)
		}
	}
	if err := f.db.learnLife(ctx); err != nil {
		return err
	}
	if err := f.start(ctx); err != nil {
		return err
	}
	// What was committed until now may stand before where reading begins, and not be
	// seen any more.
	f.mu.Lock()
	defer f.mu.Unlock()
	for stamp, own := range f.own {
		if own.seen = true; !own.acknowledged.IsZero() {
			delete(f.own, stamp)
		}
	}
	return nil
}

// pulse commits a row from time to time.
func (f *feed) pulse(ctx context.Context) {
	beat := time.NewTicker(pulseEvery)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			stamp := f.expect()
			if err := writeFeed(ctx, f.db.pool, stamp, false, nil); err != nil {
				f.forget(stamp)
				continue // the reader says what is wrong
			}
			f.acknowledge(stamp)
		}
	}
}

// poke notifies others of what was committed, outside the transactions that did so:
// those would wait for each other.
func (f *feed) poke(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.dirty:
		}
		if f.listens {
			// Nothing depends on it.
			_ = f.notify(ctx)
		}
		pause(ctx, pokeGap)
	}
}

func (f *feed) notify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, feedWithin)
	defer cancel()
	_, err := f.db.pool.Exec(ctx, `BEGIN; SET LOCAL synchronous_commit = off; NOTIFY `+channel+`; COMMIT`)
	return err
}

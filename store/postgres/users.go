package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	userColumns      = `id, name, display_name, email, groups, status, new_password, language, zone, created, version`
	selectUserByName = `SELECT ` + userColumns + ` FROM users WHERE name = $1`
	// The second condition lets the partial index serve, and nobody be found
	// by an empty address.
	selectUserByEmail = `SELECT ` + userColumns + ` FROM users WHERE email = $1 AND email <> ''`
)

const selectUserByID = `SELECT ` + userColumns + ` FROM users WHERE id = $1`

func scanUser(row scanner) (store.User, error) {
	var r struct { // one allocation for all that Scan is pointed at
		store.User
		groups  []byte
		created int64
	}
	err := row.Scan(&r.ID, &r.Name, &r.DisplayName, &r.Email, &r.groups, &r.Status, &r.NewPassword, &r.Language, &r.Zone, &r.created, &r.Version)
	if err != nil {
		return store.User{}, err
	}
	r.Created = fromMicros(r.created)
	r.Groups, err = decode[[]string](r.groups)
	return r.User, err
}

// CreateUser implements store.Users.
func (o operations) CreateUser(ctx context.Context, u store.User) error {
	const doing = "creating a user"
	groups, err := encode(u.Groups, len(u.Groups))
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.insert(ctx, doing, statement{
		`INSERT INTO users (` + userColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1) ON CONFLICT DO NOTHING`,
		[]any{u.ID, u.Name, u.DisplayName, u.Email, groups, string(u.Status), u.NewPassword, u.Language, u.Zone, micros(u.Created)},
	}, "", untold)
}

// UserByID implements store.Users.
func (o operations) UserByID(ctx context.Context, id string) (store.User, error) {
	return one(ctx, "reading a user", o.rows, statement{selectUserByID, []any{id}}, scanUser)
}

// UserByName implements store.Users.
func (o operations) UserByName(ctx context.Context, name string) (store.User, error) {
	return one(ctx, "reading a user by name", o.rows, statement{selectUserByName, []any{name}}, scanUser)
}

// UserByEmail implements store.Users.
func (o operations) UserByEmail(ctx context.Context, email string) (store.User, error) {
	return one(ctx, "reading a user by address", o.rows, statement{selectUserByEmail, []any{email}}, scanUser)
}

// UpdateUser implements store.Users.
func (o operations) UpdateUser(ctx context.Context, u store.User) error {
	const doing = "updating a user"
	groups, err := encode(u.Groups, len(u.Groups))
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.compareAndSet(ctx, doing, statement{
		`UPDATE users SET name = $1, display_name = $2, email = $3, groups = $4, status = $5, new_password = $6, language = $7, zone = $8, version = version + 1
		 WHERE id = $9 AND version = $10
			AND NOT EXISTS (SELECT FROM users WHERE name = $1 AND id <> $9)
			AND NOT EXISTS (SELECT FROM users WHERE email = $3 AND email <> '' AND id <> $9)`,
		[]any{u.Name, u.DisplayName, u.Email, groups, string(u.Status), u.NewPassword, u.Language, u.Zone, u.ID, u.Version},
	}, userExists(u.ID), store.Change{Kind: store.UserChanged, ID: u.ID})
}

// whereUser goes on with an INSERT … SELECT whose second value is the user to whom the
// row belongs.
const whereUser = ` WHERE EXISTS (SELECT FROM users WHERE id = $2) ON CONFLICT DO NOTHING`

func userExists(id string) statement {
	return statement{`SELECT 1 FROM users WHERE id = $1`, []any{id}}
}

// DeleteUser implements store.Users.
func (o operations) DeleteUser(ctx context.Context, id string) error {
	const doing = "deleting a user"
	return o.write(ctx, func(rows *transaction) error {
		of := func(sql string) statement { return statement{sql, []any{id}} }
		for _, d := range []struct {
			kind store.ChangeKind
			sql  string
		}{
			{store.SignOnEnded, `DELETE FROM sign_ons WHERE user_id = $1 RETURNING id`},
			{store.DeviceChanged, `DELETE FROM device_certificates WHERE device_id IN (SELECT id FROM devices WHERE user_id = $1) RETURNING certificate`},
			{store.AccessTokenChanged, `DELETE FROM access_tokens WHERE user_id = $1 RETURNING selector`},
		} {
			deleted, err := list(ctx, doing, rows, of(d.sql), scanText)
			if err != nil {
				return err
			}
			rows.noteEach(d.kind, deleted)
		}
		var deleted int64
		// Records come last, as they alone can be there without the user: a
		// refusal must leave them, whatever else its transaction does.
		for _, deletion := range []string{
			`DELETE FROM devices WHERE user_id = $1`,
			`DELETE FROM credentials WHERE user_id = $1`,
			`DELETE FROM browsers WHERE user_id = $1`,
			`DELETE FROM messages WHERE user_id = $1`,
			`DELETE FROM users WHERE id = $1`,
		} {
			var err error
			if deleted, err = changeIn(ctx, rows, doing, of(deletion)); err != nil {
				return err
			}
		}
		if deleted == 0 {
			return failed(ctx, doing, pgx.ErrNoRows)
		}
		rows.note(store.Change{Kind: store.UserChanged, ID: id})
		_, err := changeIn(ctx, rows, doing, of(`DELETE FROM records WHERE owner = $1 AND owner <> ''`))
		return err
	})
}

// ListUsers implements store.Users.
func (o operations) ListUsers(ctx context.Context, page store.Page[store.User]) ([]store.User, error) {
	return list(ctx, "listing users", o.rows, statement{
		`SELECT ` + userColumns + ` FROM users WHERE name > $1 ORDER BY name LIMIT $2`, []any{page.After.Name, page.Size()},
	}, scanUser)
}

// CountUsers implements store.Users.
func (o operations) CountUsers(ctx context.Context, states ...store.UserStatus) (int, error) {
	query := statement{sql: `SELECT count(*) FROM users`}
	if len(states) > 0 {
		query.and(` WHERE status = ANY (?)`, states)
	}
	count, err := one(ctx, "counting users", o.rows, query, scanNumber)
	return int(count), err
}

package portal

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/undo"
)

// undoPath is where links of notices lead.
const undoPath = "/not-me"

// askUndo says what a link of a notice would end, and ends nothing.
func (p *Portal) askUndo(w http.ResponseWriter, r *http.Request) error {
	return p.undoPage(w, r, http.StatusOK, templates.UndoView{Token: r.URL.Query().Get("token")})
}

func (p *Portal) undoPage(w http.ResponseWriter, r *http.Request, status int, view templates.UndoView) error {
	target, err := p.Undo.Look(r.Context(), view.Token)
	if err != nil {
		return fmt.Errorf("looking at a link of a notice: %w", err)
	}
	view.Frame, view.Credential = p.frame(r), len(target.Credentials) > 0
	view.Restores, view.AppPassword = len(target.Restored) > 0, len(target.AppPasswords) > 0
	return p.page(w, r, status, "undo", view)
}

// undo ends what a link names, for whoever knows whom the notice was for.
func (p *Portal) undo(w http.ResponseWriter, r *http.Request) error {
	view := templates.UndoView{Token: r.PostFormValue("token"), Name: r.PostFormValue("name")}
	err := p.Undo.Undo(r.Context(), view.Token, view.Name, p.client(r))
	if errors.Is(err, undo.ErrWrongName) {
		view.Error = templates.Message{Field: "name", Text: p.words(r).say("portal.wrong.undo_name")}
		return p.undoPage(w, r, http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return fmt.Errorf("undoing what a notice told of: %w", err)
	}
	return p.page(w, r, http.StatusOK, "undo", templates.UndoView{Frame: p.frame(r), Done: true})
}

package adminapi

import (
	"context"
	"errors"
	"io"
	"net/http"

	"go.uber.org/zap"
)

// Stream is an answer that isn't JSON. Its receiver must be able to tell whether it is
// complete.
type Stream interface {
	io.WriterTo
	io.Closer
}

// BackupType is the media type of a backup that isn't encrypted yet; see package backup.
const BackupType = "application/x-tar"

func makeBackup(ctx context.Context, s *Server, _ *http.Request) (any, error) {
	return s.Backup(ctx)
}

// send answers with a stream. If it breaks off, so does the connection, so that the
// receiver doesn't take the part for the whole.
func send(w http.ResponseWriter, portal string, log *zap.Logger, stream Stream) {
	w.Header().Set(PortalHeader, portal)
	w.Header().Set("Content-Type", BackupType)
	w.Header().Set("Cache-Control", "no-store")
	_, err := stream.WriteTo(w)
	if err := errors.Join(err, stream.Close()); err != nil {
		log.Error("sending a backup", zap.Error(err))
		panic(http.ErrAbortHandler)
	}
}

// Restored describes a backup that has been restored.
type Restored struct {
	Created string `json:"created"` // RFC 3339
	Portal  string `json:"portal"`
	Users   int    `json:"users"`
	Store   string `json:"store"` // where it is now
	// VoidedCodes says how many sets of backup codes were removed.
	VoidedCodes int `json:"voided_codes"`
}

// BackedUp says what a backup holds, and where it is.
type BackedUp struct {
	File    string   `json:"file"`
	Bytes   int64    `json:"bytes"`
	Created string   `json:"created"` // RFC 3339
	Users   int      `json:"users"`
	Entries []string `json:"entries"`
}

package backup

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// format is the version of the format that this code reads and writes.
const format = 1

// manifestName is the name of the manifest's entry.
const manifestName = "manifest.json"

// maxSmall bounds, in bytes, what is read into memory: all entries but the last.
const maxSmall = 4 << 20

// ErrNoBackup says that a file isn't a backup.
var ErrNoBackup = errors.New("this isn't a backup of Portcullis")

// Manifest says what a backup holds.
type Manifest struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
	// Version is that of the program that made the backup.
	Version string   `json:"version"`
	Portal  string   `json:"portal"`
	Users   int      `json:"users"`
	Entries []string `json:"entries"` // names, in their order
}

// Entry is a part of a backup.
type Entry struct {
	Name    string
	Size    int64
	Content io.Reader
}

// Write writes a backup that isn't encrypted yet. It completes the manifest.
func Write(w io.Writer, m Manifest, entries []Entry) error {
	m.Format, m.Entries = format, make([]string, len(entries))
	for i, entry := range entries {
		m.Entries[i] = entry.Name
	}
	head, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	archive := tar.NewWriter(w)
	for _, entry := range append([]Entry{Small(manifestName, head)}, entries...) {
		header := tar.Header{Name: entry.Name, Size: entry.Size, Mode: 0o600, ModTime: m.Created, Format: tar.FormatPAX}
		if err := archive.WriteHeader(&header); err != nil {
			return fmt.Errorf("writing %s: %w", entry.Name, err)
		}
		if _, err := io.Copy(archive, entry.Content); err != nil {
			return fmt.Errorf("writing %s: %w", entry.Name, err)
		}
	}
	return archive.Close()
}

// Reader reads a backup that was decrypted.
type Reader struct {
	Manifest Manifest
	archive  *tar.Reader
	next     int // index of the next entry in the manifest
}

// Read begins to read a backup. If r isn't one, the error is ErrNoBackup.
func Read(r io.Reader) (*Reader, error) {
	reader := &Reader{archive: tar.NewReader(r)}
	header, err := reader.archive.Next()
	if err != nil || header.Name != manifestName {
		return nil, ErrNoBackup
	}
	content, err := readSmall(reader.archive)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	// The version comes first and alone: another version may look different in every
	// other respect.
	if err := json.Unmarshal(content, &struct {
		Format *int `json:"format"`
	}{&reader.Manifest.Format}); err != nil {
		return nil, ErrNoBackup
	}
	if reader.Manifest.Format != format {
		return nil, fmt.Errorf("the backup has format %d, and this program reads format %d: use the version of Portcullis that made it", reader.Manifest.Format, format)
	}
	if err := json.Unmarshal(content, &reader.Manifest); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	return reader, nil
}

// Next returns the next entry, whose content is to be read before the next call. After
// the last one, it returns io.EOF. It is an error if an entry of the manifest is missing.
func (r *Reader) Next() (Entry, error) {
	header, err := r.archive.Next()
	if errors.Is(err, io.EOF) {
		if r.next < len(r.Manifest.Entries) {
			return Entry{}, fmt.Errorf("the backup is incomplete: it lacks %s", r.Manifest.Entries[r.next])
		}
		return Entry{}, io.EOF
	}
	if err != nil {
		return Entry{}, fmt.Errorf("reading the backup: %w", err)
	}
	if r.next == len(r.Manifest.Entries) || header.Name != r.Manifest.Entries[r.next] || header.Typeflag != tar.TypeReg {
		return Entry{}, fmt.Errorf("the backup is damaged: it has an entry %q that its manifest doesn't have there", header.Name)
	}
	r.next++
	return Entry{header.Name, header.Size, r.archive}, nil
}

// Check reads the rest of a backup, and returns why it isn't complete.
func (r *Reader) Check() error {
	for {
		entry, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			_, err = io.Copy(io.Discard, entry.Content)
		}
		if err != nil {
			return err
		}
	}
}

// Small returns an entry with content in memory.
func Small(name string, content []byte) Entry {
	return Entry{name, int64(len(content)), bytes.NewReader(content)}
}

// ReadSmall reads the content of a small entry; a large one is an error.
func (e Entry) ReadSmall() ([]byte, error) {
	content, err := readSmall(e.Content)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", e.Name, err)
	}
	return content, nil
}

func readSmall(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxSmall+1))
	if err == nil && len(content) > maxSmall {
		err = fmt.Errorf("it has more than %d bytes", maxSmall)
	}
	return content, err
}

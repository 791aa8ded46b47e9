// Package backup is the format of backups: one encrypted file with everything that a
// server needs to continue elsewhere.
//
// A backup is a tar archive, encrypted by age (https://age-encryption.org/v1). Its
// first entry is the manifest, which names the others. The package must not know where
// they come from, or what is done with them.
package backup

// Package importing reads users from the files of other programs.
//
// It knows their formats, and must not know which names, hashes and secrets can be used:
// whoever keeps them decides that. Errors quote no secret.
package importing

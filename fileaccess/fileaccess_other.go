//go:build !unix

package fileaccess

import "io/fs"

func checkFolder(string, fs.FileInfo) error { return nil }

func checkFile(string, fs.FileInfo, fs.FileMode) error { return nil }

func isOwn(fs.FileInfo) bool { return false }

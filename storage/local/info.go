package local

import (
	"io/fs"

	"gateway/storage"
)

// info describes stat under the name that the peer uses.
func (f *FS) info(name string, stat fs.FileInfo) storage.Info {
	i := storage.Info{Name: name, Size: stat.Size(), Mode: stat.Mode(), ModTime: stat.ModTime()}
	dev, ino, links, access := details(stat)
	i.Access, i.Links = access, links
	if dev == f.dev {
		i.ID = ino // on another device the number may be one of ours
	}
	return i
}

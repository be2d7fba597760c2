package mount

import (
	"context"
	"errors"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"gateway/session"
	"gateway/storage"
)

// Stat implements storage.FS. A mount point is described without asking the tree behind it.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	return f.look(ctx, name, storage.FS.Stat)
}

// Lstat implements storage.FS.
func (f *FS) Lstat(ctx context.Context, name string) (storage.Info, error) {
	return f.look(ctx, name, storage.FS.Lstat)
}

func (f *FS) look(ctx context.Context, name string, look func(storage.FS, context.Context, string) (storage.Info, error)) (storage.Info, error) {
	if f.isPoint(name) {
		return f.folder(name), nil
	}
	tree, rest, err := f.tree(ctx, name)
	if err != nil {
		return storage.Info{}, err
	}
	info, err := look(tree, ctx, rest)
	if f.fixed(name) && (errors.Is(err, session.ErrNotExist) || err == nil && !info.IsDir()) {
		return f.folder(name), nil
	}
	return info, err
}

// List implements storage.FS.
func (f *FS) List(ctx context.Context, name string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		tree, rest, err := f.tree(ctx, name)
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		here := f.folders(name)
		for info, err := range tree.List(ctx, rest) {
			switch point, hides := here[info.Name]; {
			case err != nil && len(here) > 0 && errors.Is(err, session.ErrNotExist):
				// A folder that the base has not, on the way to a mount point.
			case err != nil:
				yield(info, err)
				return
			case hides && (point || !info.IsDir()):
				// What the base has there is hidden.
			default:
				if hides {
					delete(here, info.Name)
				}
				if !yield(info, nil) {
					return
				}
			}
		}
		for _, entry := range slices.Sorted(maps.Keys(here)) {
			if !yield(f.folder(entry), nil) {
				return
			}
		}
	}
}

// folders are the entries of a folder that are mount points, or (false) above one.
func (f *FS) folders(name string) map[string]bool {
	out := make(map[string]bool)
	for _, m := range f.mounts {
		if !below(m.Point, name) {
			continue
		}
		rest := m.Point
		if name != "." {
			rest = m.Point[len(name)+1:]
		}
		entry, _, more := strings.Cut(rest, "/")
		out[entry] = !more
	}
	return out
}

// Open implements storage.FS.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	if f.fixed(name) {
		return nil, fault("open", name, session.ErrIsDirectory)
	}
	tree, rest, err := f.tree(ctx, name)
	if err != nil {
		return nil, err
	}
	return tree.Open(ctx, rest)
}

// Readlink implements storage.FS. The target of a link that is an absolute path is one of its
// own tree.
func (f *FS) Readlink(ctx context.Context, name string) (string, error) {
	if f.fixed(name) {
		return "", fault("readlink", name, session.ErrUnsupported)
	}
	tree, rest, err := f.tree(ctx, name)
	if err != nil {
		return "", err
	}
	target, err := tree.Readlink(ctx, rest)
	if m, _ := f.at(name); err == nil && m != nil && strings.HasPrefix(target, "/") {
		target = path.Join("/", m.Point, target)
	}
	return target, err
}

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// installed is a program of a peer, and where its package is.
type installed struct {
	program string
	root    string   // what the package calls /
	env     []string // to start it with
}

// install finds a program on the machine, or else in Debian's packages, unpacked
// below the folder for tools: FTP servers cannot be installed beside each other,
// but can be started so, and an sshd that is installed is started for everybody. It returns an errSkip where it cannot be had.
func install(ctx context.Context, program string, packages ...string) (installed, error) {
	if path, err := findProgram(program); err == nil {
		return installed{program: path, root: "/"}, nil
	}
	root := filepath.Join(toolsFolder(), program)
	path := filepath.Join(root, "usr/sbin", program)
	if _, err := os.Stat(path); err != nil {
		if err := unpack(ctx, root, packages); err != nil {
			return installed{}, errSkip(fmt.Sprintf("%s is not installed, and its package cannot be had: %v", program, err))
		}
	}
	var libraries []string
	for _, dir := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		found, err := filepath.Glob(filepath.Join(root, dir))
		if err != nil {
			return installed{}, err
		}
		libraries = append(libraries, found...)
	}
	var env []string
	if len(libraries) > 0 {
		env = []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
	}
	return installed{path, root, env}, nil
}

// toolsFolder is $GATEWAY_TOOLS, or .tools in the folder of the caller.
func toolsFolder() string {
	dir := os.Getenv("GATEWAY_TOOLS")
	if dir == "" {
		dir = ".tools"
	}
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	return dir
}

// unpack downloads packages, with those that they need and the machine lacks,
// and makes root of them. Nothing is installed.
func unpack(ctx context.Context, root string, packages []string) error {
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(root), "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	download := exec.CommandContext(ctx, "apt-get", append([]string{
		"install", "--download-only", "--no-install-recommends", "--yes", "--quiet", "-o", "Dir::Cache::archives=" + dir,
	}, packages...)...)
	if out, err := download.CombinedOutput(); err != nil {
		last := out[bytes.LastIndexByte(bytes.TrimSpace(out), '\n')+1:]
		return fmt.Errorf("apt-get: %w: %s (apt-get update may help)", err, bytes.TrimSpace(last))
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	if len(archives) == 0 {
		return errors.New("apt-get downloaded nothing; is it installed without its programs?")
	}
	made := filepath.Join(dir, "root")
	for _, archive := range archives {
		if out, err := exec.CommandContext(ctx, "dpkg", "-x", archive, made).CombinedOutput(); err != nil {
			return fmt.Errorf("dpkg -x: %w: %s", err, out)
		}
	}
	return os.Rename(made, root)
}

// findProgram looks in the folders of system programs too.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", errSkip(name + " is not installed")
}

// accountOf returns the ids of the account that a peer's sessions are run as. Only
// root can start servers that give up being root.
func accountOf(account string) (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, errSkip("to start it needs root")
	}
	u, err := user.Lookup(account)
	if err != nil {
		return 0, 0, errSkip("there is no user " + account + " to run it as")
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(err1, err2)
}

// firstLine runs a program that tells its version; some exit with an error then.
func firstLine(env []string, path string, args ...string) string {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	out, _ := cmd.CombinedOutput()
	line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
	return string(line)
}

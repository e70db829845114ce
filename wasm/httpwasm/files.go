//go:build wasip1

package main

import (
	"syscall"

	"sessiongate/wasm/httpwasm/internal/plugin"
)

func (proxy) Stat(path string) (plugin.Version, error) {
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return plugin.Version{}, err
	}
	return plugin.Version{Device: s.Dev, Inode: s.Ino, Size: s.Size, Written: s.Mtime}, nil
}

func (proxy) ReadFile(path string, most int) (content []byte, err error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closing := syscall.Close(fd); err == nil {
			err = closing
		}
	}()
	content = make([]byte, 0, 4096)
	for len(content) < most {
		if len(content) == cap(content) {
			content = append(content, 0)[:len(content)]
		}
		n, err := syscall.Read(fd, content[len(content):cap(content)])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			return content, nil
		}
		content = content[:len(content)+n]
	}
	return content, nil
}

//go:build conformance

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"sessiongate/internal/abi"
	"sessiongate/verdict"
)

// wasm judges inside the guest: modes jwt and jwks in the module that ships, jws
// and raw in the one with the calls for them. It binds the ABI by itself, without
// package host, so that it is a second reader of docs/abi.md.
type wasm struct {
	runtime        wazero.Runtime
	shipped, extra *instance
}

// instance is one guest, used by one case at a time.
type instance struct {
	module       api.Module
	buffer, call api.Function
}

// openWasm loads both guests. The runner starts one process for each category, so
// what was compiled is kept in the directory cache for the next.
func openWasm(shipped, extra, cache string) (engine, error) {
	if shipped == "" || extra == "" || cache == "" {
		return nil, errors.New("-engine wasm wants -module, -extra and -cache")
	}
	compiled, err := wazero.NewCompilationCacheWithDir(cache)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	w := &wasm{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(compiled))}
	wasi_snapshot_preview1.MustInstantiate(ctx, w.runtime)
	if w.shipped, err = w.instantiate(ctx, shipped); err == nil {
		w.extra, err = w.instantiate(ctx, extra)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *wasm) instantiate(ctx context.Context, file string) (*instance, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m, err := w.runtime.InstantiateWithConfig(ctx, b, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	i := &instance{m, m.ExportedFunction(abi.ExportBuffer), m.ExportedFunction(abi.ExportCall)}
	version := m.ExportedFunction(abi.ExportVersion)
	if i.buffer == nil || i.call == nil || version == nil {
		return nil, fmt.Errorf("%s: lacks an export of the ABI", file)
	}
	got, err := version.Call(ctx)
	if err != nil || got[0] != abi.Version {
		return nil, fmt.Errorf("%s: speaks version %v of the ABI (%v)", file, got, err)
	}
	return i, nil
}

func (w *wasm) close() { _ = w.runtime.Close(context.Background()) }

// do makes one call and returns what follows the status.
func (i *instance) do(call abi.Call, in []byte, now int64) (string, error) {
	ctx := context.Background()
	at, err := i.buffer.Call(ctx, uint64(len(in)))
	if err != nil {
		return "", err
	}
	if at[0] == 0 || !i.module.Memory().Write(uint32(at[0]), in) {
		return "", errors.New("input is over the guest's bound")
	}
	out, err := i.call.Call(ctx, uint64(call), uint64(len(in)), uint64(now))
	if err != nil {
		return "", err
	}
	b, ok := i.module.Memory().Read(uint32(out[0]>>32), uint32(out[0]))
	if !ok || len(b) == 0 {
		return "", errors.New("output lies outside the guest's memory")
	}
	switch body := string(b[1:]); abi.Status(b[0]) {
	case abi.StatusOK:
		return body, nil
	case abi.StatusFaults:
		return "", faults(body)
	default:
		return "", errors.New(abi.Status(b[0]).String())
	}
}

// faults turns the guest's list into the error that the core itself gives.
func faults(body string) error {
	var list struct {
		Errors []struct{ Path, Problem string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return err
	}
	var lines []string
	for _, e := range list.Errors {
		if e.Path != "" {
			e.Problem = e.Path + ": " + e.Problem
		}
		lines = append(lines, e.Problem)
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (w *wasm) configure(c config) error {
	in := abi.Configure{Kind: "go", Policy: string(c.policy())}
	_, err := w.shipped.do(abi.CallConfigure, in.Append(nil), 0)
	return err
}

func (w *wasm) update(c config, now int64) (usable int, err error) {
	in := abi.UpdateKeys{Issuer: 0, ConfirmedAt: now, Document: c.set}
	out, err := w.shipped.do(abi.CallUpdateKeys, in.Append(nil), now)
	if err != nil {
		return 0, err
	}
	var updated struct{ Usable int }
	err = json.Unmarshal([]byte(out), &updated)
	return updated.Usable, err
}

func (w *wasm) jwt(c config, token string, now int64) error {
	if err := w.configure(c); err != nil {
		return err
	}
	if c.secret == nil {
		if _, err := w.update(c, now); err != nil {
			return err
		}
	}
	// A host hands over one byte more than the bound at most: enough to be refused.
	out, err := w.shipped.do(abi.CallVerify, []byte(token[:min(len(token), abi.MaxToken+1)]), now)
	if err != nil {
		return err
	}
	v, err := abi.DecodeVerified(out)
	if err != nil {
		return err
	}
	return orNil(v.Reason)
}

func (w *wasm) jwks(c config) (int, error) {
	if err := w.configure(c); err != nil {
		return 0, err
	}
	return w.update(c, 0)
}

func (w *wasm) jws(c config, token string) error {
	return w.test(abi.CallTestJWS, abi.Test{Keys: c.set, Secret: string(c.secret), Algorithms: c.algs, Message: token})
}

func (w *wasm) raw(c config, message, signature []byte) error {
	return w.test(abi.CallTestRaw, abi.Test{Keys: c.set, Algorithms: c.algs, Message: string(message), Signature: string(signature)})
}

func (w *wasm) test(call abi.Call, in abi.Test) error {
	out, err := w.extra.do(call, in.Append(nil), 0)
	if err != nil {
		return err
	}
	if len(out) != 1 {
		return abi.ErrEncoding
	}
	return orNil(verdict.Reason(out[0]))
}

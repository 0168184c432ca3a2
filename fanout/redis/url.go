package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// scrub takes the password out of an error's text: servers that do not know AUTH or HELLO send back its arguments.
func (r *Source) scrub(err error) error {
	if r.secret == "" || !strings.Contains(err.Error(), r.secret) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), r.secret, "***"))
}

// ParseURL returns the options that raw stands for, and raw without user, password and query, for logs. Its
// errors say no more of raw than that: url.Parse and go-redis quote what they choke on, which is a piece of the
// password when it contains a character that should have been percent-encoded. From then on go-redis's own lines are
// at level debug, in the log of the process.
func ParseURL(raw string) (*goredis.Options, string, error) {
	quietGoRedis()
	if raw == "" {
		return nil, "", errors.New("redis URL: empty")
	}
	u, err := url.Parse(raw)
	at := strings.Contains(raw, "@")
	if at && (err != nil || u.User == nil || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@")) {
		return nil, "", fmt.Errorf("redis URL %s: unreadable; special characters in a password, like / ? # %%, must be percent-encoded", redactUnparsed(raw))
	}
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok { // without the URL in it
			err = ue.Err
		}
		return nil, "", fmt.Errorf("redis URL %s: %w; want redis://host:port", redactUnparsed(raw), err)
	}
	user := ""
	if u.User != nil {
		user = "***@"
	}
	name := u.Scheme + "://" + user + u.Host + u.Path
	opt, err := goredis.ParseURL(raw)
	if err != nil {
		return nil, "", fmt.Errorf("redis URL %s: %w; want redis://, rediss:// or unix://", name, err)
	}
	return opt, name, nil
}

// redactUnparsed is raw without what stands before the last @ (but for a scheme) and after the first ? behind it.
func redactUnparsed(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		scheme, rest = "", raw
	} else {
		scheme += "://"
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = "***" + rest[i:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	return scheme + rest
}

// goRedisLog takes go-redis's own lines, which it would print to stderr, one per failed dial. They are for whoever
// debugs; what an operator must know Run says itself.
type goRedisLog struct{}

func (goRedisLog) Printf(ctx context.Context, format string, v ...any) {
	if log := slog.Default(); log.Enabled(ctx, slog.LevelDebug) {
		log.DebugContext(ctx, "go-redis", "line", fmt.Sprintf(format, v...))
	}
}

// quietGoRedis sets go-redis's logger, of which a process has one.
var quietGoRedis = sync.OnceFunc(func() { goredis.SetLogger(goRedisLog{}) })

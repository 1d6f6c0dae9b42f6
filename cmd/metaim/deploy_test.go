package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

var deployDir = filepath.Join("..", "..", "deploy")

func readDeploy(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{deployDir}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkVariable tells whether METAIM_... is a setting's, and the value one that it
// takes.
func checkVariable(t *testing.T, where, name, value string) {
	t.Helper()
	if name == configVariable {
		return
	}
	for _, s := range settings() {
		if s.variable != name {
			continue
		}
		if err := s.refuse(value); err != nil {
			t.Errorf("%s: %s=%s: %v", where, name, value, err)
		}
		if s.secret {
			t.Errorf("%s: %s stands in the open", where, name)
		}
		return
	}
	t.Errorf("%s: %s is no setting", where, name)
}

// checkCommand tells whether the program has a command, with arguments that it
// takes.
func checkCommand(t *testing.T, where string, words []string) {
	t.Helper()
	p, _, _ := testProgram(nil)
	c, rest, err := newRoot(p).Find(words)
	if err == nil {
		err = c.ValidateArgs(rest)
	}
	if err != nil || c.CommandPath() == "metaim" {
		t.Errorf("%s: metaim %v is no command: %v", where, words, err)
	}
}

type composeService struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Command     []string
	Environment map[string]string
	Secrets     []string
	Volumes     []string
	Ports       []string
	Networks    []string
	DependsOn   any `yaml:"depends_on"`
	Healthcheck struct {
		Test        []string
		Interval    string
		Timeout     string
		Retries     int
		StartPeriod string `yaml:"start_period"`
	}
	ReadOnly    bool `yaml:"read_only"`
	User        string
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Ulimits     map[string]int
	PidsLimit   int    `yaml:"pids_limit"`
	ShmSize     string `yaml:"shm_size"`
	StopGrace   string `yaml:"stop_grace_period"`
	Restart     string
}

type composeFile struct {
	Name     string
	Services map[string]composeService
	Networks map[string]struct{ Internal bool }
	Volumes  map[string]struct{}
	Secrets  map[string]struct{ File string }
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	var c composeFile
	d := yaml.NewDecoder(strings.NewReader(readDeploy(t, "compose.yaml")))
	d.KnownFields(true) // what isn't looked at here doesn't stand there
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompose(t *testing.T) {
	c := readCompose(t)
	for _, name := range []string{"metaim", "postgres", "node", "prometheus", "grafana"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	for name, s := range c.Services {
		if len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("%s has no healthcheck: %v", name, s.Healthcheck.Test)
		}
		if s.Build.Dockerfile == "" && !regexp.MustCompile(`^[a-z0-9/.-]+:v?\d+[.0-9a-z-]*$`).MatchString(s.Image) {
			t.Errorf("%s: image %q has no version", name, s.Image)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to other machines", name, port)
			}
		}
		for key, value := range s.Environment {
			if strings.HasPrefix(key, "METAIM_") {
				checkVariable(t, name, key, value)
			}
			secret := regexp.MustCompile(`(?i)password|token|secret`).MatchString(key)
			if secret && !strings.HasPrefix(value, "/run/secrets/") {
				t.Errorf("%s: %s isn't the path of a secret", name, key)
			}
		}
		checkMounts(t, c, name, s)
	}
	m := c.Services["metaim"]
	if !m.ReadOnly || !slices.Equal(m.CapDrop, []string{"ALL"}) || !slices.Contains(m.SecurityOpt, "no-new-privileges:true") || strings.HasPrefix(m.User, "0") || m.User == "" {
		t.Errorf("metaim isn't shut in: %+v", m)
	}
	if m.Ulimits["nofile"] < files {
		t.Errorf("metaim may open %d files, want %d or more", m.Ulimits["nofile"], files)
	}
	checkCommand(t, "compose.yaml", m.Command)
	checkCommand(t, "compose.yaml", m.Healthcheck.Test[2:])
	if !c.Networks["inside"].Internal || slices.Contains(c.Services["postgres"].Networks, "outside") {
		t.Error("the database is on a network that leads outside")
	}
}

// checkMounts tells whether everything that a service uses is there.
func checkMounts(t *testing.T, c composeFile, name string, s composeService) {
	t.Helper()
	for _, v := range s.Volumes {
		from, _, _ := strings.Cut(v, ":")
		if !strings.HasPrefix(from, "./") {
			if _, ok := c.Volumes[from]; !ok {
				t.Errorf("%s: there is no volume %s", name, from)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(deployDir, from)); err != nil || !strings.HasSuffix(v, ":ro") {
			t.Errorf("%s: %s isn't there, or can be written (%v)", name, v, err)
		}
	}
	for _, secret := range s.Secrets {
		if c.Secrets[secret].File == "" {
			t.Errorf("%s: there is no secret %s", name, secret)
		}
	}
	for _, text := range append(append(slices.Clone(s.Command), s.Healthcheck.Test...), fmt.Sprint(s.Environment)) {
		for _, path := range regexp.MustCompile(`/run/secrets/([a-z_.]+)`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(s.Secrets, path[1]) {
				t.Errorf("%s isn't given the secret %s that it uses", name, path[1])
			}
		}
	}
}

// TestSecrets runs the script that makes what compose.yaml wants.
func TestSecrets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it is a script for a POSIX shell")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "secrets.sh")
	if err := os.WriteFile(script, []byte(readDeploy(t, "secrets.sh")), 0o700); err != nil {
		t.Fatal(err)
	}
	make := func() map[string]string {
		if out, err := exec.Command("sh", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		made := map[string]string{}
		for name := range readCompose(t).Secrets {
			b, err := os.ReadFile(filepath.Join(dir, "secrets", name))
			if err != nil || len(b) == 0 {
				t.Errorf("%s: %v, %d bytes", name, err, len(b))
			}
			made[name] = string(b)
		}
		return made
	}
	first := make()
	if again := make(); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("a second time: got %v, want %v", again, first)
	}
	if info, err := os.Stat(filepath.Join(dir, "secrets")); err != nil || othersReach(info.Mode()) {
		t.Errorf("others can enter the folder: %v %v", info, err)
	}
	values, err := parseSettings("metaim.toml", first["metaim.toml"])
	if err != nil {
		t.Fatal(err)
	}
	config, err := rpcConfig(values[rpcSetting.flag].text)
	if err != nil || len(config.Password) < 40 || !strings.Contains(first["bitcoin.conf"], "rpcpassword="+config.Password+"\n") {
		t.Errorf("metaim and the node don't share a password: %v", err)
	}
	if want := "postgres:5432:metaim:metaim:" + first["postgres_password"] + "\n"; first["pgpass"] != want {
		t.Errorf("pgpass: got %q, want %q", first["pgpass"], want)
	}
}

func TestDockerfile(t *testing.T) {
	text := readDeploy(t, "Dockerfile")
	module, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	wants := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	if has := regexp.MustCompile(`(?m)^FROM golang:(\d+\.\d+)-`).FindStringSubmatch(text); has == nil || has[1] != string(wants[1]) {
		t.Errorf("the image is built with Go %v, want %s", has, wants[1])
	}
	for _, want := range []string{"CGO_ENABLED=0 go build", "\nFROM gcr.io/distroless/static-debian12:nonroot\n", "\nUSER 65532:65532\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "COPY" || strings.Contains(line, "--from=") {
			continue
		}
		for _, from := range words[1 : len(words)-1] {
			if _, err := os.Stat(filepath.Join("..", "..", from)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	for _, v := range regexp.MustCompile(`(METAIM_[A-Z_]+)=(\S+)`).FindAllStringSubmatch(text, -1) {
		checkVariable(t, "Dockerfile", v[1], v[2])
	}
	for _, list := range regexp.MustCompile(`(?m)CMD (\[.*\])$`).FindAllStringSubmatch(text, -1) {
		var words []string
		if err := yaml.Unmarshal([]byte(list[1]), &words); err != nil {
			t.Fatal(err)
		}
		if words[0] == "/usr/bin/metaim" {
			words = words[1:]
		}
		checkCommand(t, "Dockerfile", words)
	}
}

// TestUnit has systemd itself look at the unit, where it is installed.
func TestUnit(t *testing.T) {
	text := readDeploy(t, "systemd", "metaim.service")
	for _, v := range regexp.MustCompile(`(?m)^Environment=(METAIM_[A-Z_]+)=(\S+)$`).FindAllStringSubmatch(text, -1) {
		checkVariable(t, "metaim.service", v[1], v[2])
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/metaim (.*)$`).FindStringSubmatch(text)
	if start == nil {
		t.Fatal("there is no ExecStart of metaim")
	}
	checkCommand(t, "metaim.service", strings.Fields(start[1]))
	for _, want := range []string{"Type=notify", "DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "MemoryDenyWriteExecute=yes",
		"CapabilityBoundingSet=", "SystemCallFilter=@system-service", "LimitNOFILE=65536", "LoadCredential=metaim.toml:/etc/metaim/metaim.toml"} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("it lacks %s", want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze isn't installed: the unit was only read")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "metaim.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "/usr/bin/metaim", self)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", path}, {"security", "--offline=true", "--threshold=20", path}} { // 2.0 of 10
		out, err := exec.Command(analyze, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(bytes.TrimSpace(out)) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

package session

import (
	"fmt"
	"strings"
)

// Client is what kind of software a peer says it is: a class of it, told from the
// version of SSH, from CLNT of FTP, or from the name after EHLO. It can be forged, so
// that it may narrow a rule or a report, and never proves anything.
type Client uint8

const (
	ClientUnknown    Client = iota // it said nothing
	ClientOther                    // something that is not in the table
	ClientWinSCP                   //
	ClientFileZilla                //
	ClientCyberduck                //
	ClientLftp                     //
	ClientCurl                     //
	ClientWget                     //
	ClientRclone                   //
	ClientOpenSSH                  //
	ClientPuTTY                    //
	ClientParamiko                 //
	ClientPythonFTP                // ftplib
	ClientJSch                     // JSch and other libraries of Java
	ClientLibSSH                   // libssh, libssh2 of programs that say no more
	ClientGo                       // golang.org/x/crypto/ssh
	ClientSSHNet                   // SSH.NET and others of .NET
	ClientPHP                      // phpseclib
	ClientWindowsFTP               // ftp.exe
	ClientPrinter                  // scanners, printers and copiers
	ClientThunderbird
	ClientOutlook

	Clients // how many there are
)

// clientWords are those of the rules and the record.
func clientWords() [Clients]string {
	return [Clients]string{
		"unknown", "other", "winscp", "filezilla", "cyberduck", "lftp", "curl", "wget", "rclone", "openssh", "putty",
		"paramiko", "python-ftplib", "java", "libssh", "go", "dotnet", "php", "windows-ftp", "printer", "thunderbird", "outlook",
	}
}

// ClientWords lists the words of all classes, by number.
func ClientWords() []string {
	words := clientWords()
	return words[:]
}

// clientSigns are what the software of a class says, in lower case. The first that
// is found counts, so that what is more particular comes before.
func clientSigns() []clientSign {
	return []clientSign{
		{"winscp", ClientWinSCP}, {"filezilla", ClientFileZilla}, {"cyberduck", ClientCyberduck}, {"mountain duck", ClientCyberduck},
		{"lftp", ClientLftp}, {"rclone", ClientRclone}, {"curl", ClientCurl}, {"wget", ClientWget},
		{"openssh", ClientOpenSSH}, {"putty", ClientPuTTY}, {"paramiko", ClientParamiko}, {"asyncssh", ClientParamiko},
		{"ftplib", ClientPythonFTP}, {"jsch", ClientJSch}, {"sshj", ClientJSch}, {"apache-sshd", ClientJSch}, {"maverick", ClientJSch},
		{"ssh-2.0-go", ClientGo}, {"ssh.net", ClientSSHNet}, {"sshnet", ClientSSHNet}, {"renci", ClientSSHNet}, {"phpseclib", ClientPHP},
		{"libssh", ClientLibSSH}, {"windows ftp", ClientWindowsFTP}, {"thunderbird", ClientThunderbird}, {"outlook", ClientOutlook},
	}
}

type clientSign struct {
	text  string
	class Client
}

// printerSigns begin the names that devices give themselves: the makers' own, those
// of their network cards, and the kinds of device.
func printerSigns() []string {
	return []string{
		"brn", "brw", "brother", "canon", "epson", "hp-", "hpcolor", "hplaserjet", "npi", "km", "konica", "kyocera", "lexmark", "et00",
		"mfp", "oki", "printer", "ricoh", "rnp", "samsung", "sec00", "scanner", "sharp", "toshiba", "utax", "xerox", "xrx", "bizhub", "aficio",
	}
}

// ClassifyClient tells the class of software from what it says of itself.
func ClassifyClient(p Protocol, software string) Client {
	software = strings.ToLower(software)
	if software == "" {
		return ClientUnknown
	}
	for _, s := range clientSigns() {
		if strings.Contains(software, s.text) {
			return s.class
		}
	}
	if p == SFTP {
		return ClientOther
	}
	for _, sign := range printerSigns() {
		if strings.HasPrefix(software, sign) {
			return ClientPrinter
		}
	}
	return ClientOther
}

func (c Client) String() string {
	if c < Clients {
		return clientWords()[c]
	}
	return clientWords()[ClientOther]
}

// MarshalText writes the word.
func (c Client) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the word back.
func (c *Client) UnmarshalText(text []byte) error {
	for i, word := range clientWords() {
		if word == string(text) {
			*c = Client(i)
			return nil
		}
	}
	return fmt.Errorf("class of client %q is not known", text)
}

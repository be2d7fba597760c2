package policies

import "gateway/session"

// Instead is what a client can do in place of a login in clear over a protocol, in a
// sentence for whoever uses that software.
func (p *Policy) Instead(over session.Protocol, c session.Client) string {
	if over == session.Submission || over == session.Relay {
		return "Use port 465 with TLS, or port 587 with STARTTLS, at " + p.hostname + "."
	}
	return instead(c, p.hostname)
}

// instead is what a client can do in place of a login in clear, in a sentence for
// whoever uses that software.
func instead(c session.Client, hostname string) string {
	switch c {
	case session.ClientWinSCP:
		return "In WinSCP, choose the file protocol SFTP, or FTP with TLS/SSL Explicit encryption."
	case session.ClientFileZilla:
		return "In FileZilla's site manager, choose the protocol SFTP, or Require explicit FTP over TLS."
	case session.ClientCyberduck:
		return "In Cyberduck, choose SFTP, or FTP-SSL (Explicit AUTH TLS)."
	case session.ClientLftp:
		return "In lftp: set ftp:ssl-force true, or open sftp://" + hostname
	case session.ClientCurl:
		return "With curl: add --ssl-reqd, or use sftp://" + hostname
	case session.ClientWget:
		return "Wget: use ftps://" + hostname
	case session.ClientWindowsFTP:
		return "The ftp command of Windows has no encryption: use its sftp command, or WinSCP."
	case session.ClientPythonFTP:
		return "In Python, use ftplib.FTP_TLS with prot_p(), or paramiko."
	case session.ClientPrinter:
		return "In the device's settings, turn on SSL/TLS or STARTTLS, or FTPS or SFTP."
	default:
		return "Use FTPS, or sftp://" + hostname
	}
}

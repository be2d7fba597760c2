// Command bench measures the gateway beside OpenSSH, Postfix and the FTP servers of
// Debian, and prints tables: transfers by SFTP, FTP and FTPS, and by OpenSSH's own
// client, small files, listings, logins, mail accepted durably, memory of idle sessions
// and of uploads in flight, the system calls that move a file, and logins while
// somebody guesses hashes that take seconds. It is never a test.
//
// Each server is started privately, on a port of the kernel's choice on loopback,
// from folders that are removed afterwards. The gateway and its peers take turns
// (A B C A B C) under the same client, and the median of their rounds is printed,
// with the ratio to the best peer. Processor time is that of the server with all its
// descendants.
//
//	go run ./bench
//	go run ./bench -size 256 -only sftp,logins
//	go run ./bench -only ftp-idle,ftps-idle -idle 9000 -peers=none
//
// Postfix and pyftpdlib are measured where they are installed. vsftpd, Pure-FTPd and
// ProFTPD exclude each other as packages of Debian, and that of sshd starts it: those
// that are not installed are downloaded and unpacked, once, in $GATEWAY_TOOLS, or in
// .tools. mod_sftp is the SFTP server of ProFTPD.
//
// docs/performance.md says what was found, and how to read it. It reads /proc and
// therefore runs on Linux only.
package main

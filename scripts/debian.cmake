# Run by cpack before it makes the .deb: what Debian wants of a package and no other installation has. The project
# has no mail address; zlib is linked in, since the library may need nothing but libc.
set(share "${CPACK_TEMPORARY_DIRECTORY}/usr/share")
set(documents "${share}/doc/${CPACK_PACKAGE_NAME}")
file(READ "${documents}/LICENSE" license)
file(READ "${documents}/NOTICE" notice)
file(WRITE "${documents}/copyright" "${license}\n${notice}")
string(TIMESTAMP date "%Y-%m-%d" UTC)
execute_process(COMMAND date -R -u -d "${date}" OUTPUT_VARIABLE date OUTPUT_STRIP_TRAILING_WHITESPACE)
file(WRITE "${documents}/changelog"
  "${CPACK_PACKAGE_NAME} (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the source.\n\n"
  " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
execute_process(COMMAND gzip -9n "${documents}/changelog" COMMAND_ERROR_IS_FATAL ANY)
set(overrides)
foreach(tag "bogus-mail-host Maintainer *" "bogus-mail-host-in-debian-changelog *" "embedded-library zlib *"
    "shared-library-lacks-version *" "package-name-doesnt-match-sonames *")
  string(APPEND overrides "${CPACK_PACKAGE_NAME}: ${tag}\n")
endforeach()
file(WRITE "${share}/lintian/overrides/${CPACK_PACKAGE_NAME}" "${overrides}")

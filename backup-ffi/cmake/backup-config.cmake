# find_package(backup): the targets backup::backup (shared library) and backup::static. Finds what lies in the same prefix, wherever that is.
set(_backup_prefix "${CMAKE_CURRENT_LIST_DIR}")
while(NOT EXISTS "${_backup_prefix}/include/backup.h")
  get_filename_component(_backup_parent "${_backup_prefix}" DIRECTORY)
  if(_backup_parent STREQUAL _backup_prefix)
    set(backup_FOUND FALSE)
    set(backup_NOT_FOUND_MESSAGE "there is no include/backup.h above ${CMAKE_CURRENT_LIST_DIR}")
    return()
  endif()
  set(_backup_prefix "${_backup_parent}")
endwhile()

set(_backup_places "${_backup_prefix}/lib" "${_backup_prefix}/lib64" "${_backup_prefix}/lib/${CMAKE_LIBRARY_ARCHITECTURE}")
find_library(backup_SHARED NAMES libbackup.so libbackup.dylib backup.dll.lib PATHS ${_backup_places} NO_DEFAULT_PATH)
find_library(backup_STATIC NAMES libbackup.a backup.lib PATHS ${_backup_places} NO_DEFAULT_PATH)
mark_as_advanced(backup_SHARED backup_STATIC)

if(backup_SHARED AND NOT TARGET backup::backup)
  add_library(backup::backup UNKNOWN IMPORTED)
  set_target_properties(backup::backup PROPERTIES
    IMPORTED_LOCATION "${backup_SHARED}"
    INTERFACE_INCLUDE_DIRECTORIES "${_backup_prefix}/include")
endif()

if(backup_STATIC AND NOT TARGET backup::static)
  add_library(backup::static STATIC IMPORTED)
  set_target_properties(backup::static PROPERTIES
    IMPORTED_LOCATION "${backup_STATIC}"
    INTERFACE_COMPILE_DEFINITIONS BACKUP_STATIC
    INTERFACE_INCLUDE_DIRECTORIES "${_backup_prefix}/include")
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    set_target_properties(backup::static PROPERTIES INTERFACE_LINK_LIBRARIES "gcc_s;util;rt;pthread;m;dl")
  endif()
endif()

if(NOT TARGET backup::backup AND NOT TARGET backup::static)
  set(backup_FOUND FALSE)
  set(backup_NOT_FOUND_MESSAGE "there is no libbackup in ${_backup_places}")
endif()
unset(_backup_prefix)
unset(_backup_parent)
unset(_backup_places)

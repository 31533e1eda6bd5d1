// SPDX-License-Identifier: MIT
// What one stage writes as JSON and another reads. The serializer checks what a record declares, if its context asks for
// RespectNullableAnnotations and RespectRequiredConstructorParameters, but not the elements of a list: no list of ours has null in it.
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Ksplice.Build.Files;

/// <summary>Reads JSON so that whatever is wrong with it is one exception.</summary>
public static class JsonFile
{
    /// <summary>Reads the file <paramref name="path"/>.</summary>
    /// <param name="path">The file.</param>
    /// <param name="type">What it holds.</param>
    /// <param name="remedy">What to do if it is damaged.</param>
    /// <exception cref="DamagedFileException">It is not what <paramref name="type"/> says.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static T Read<T>(string path, JsonTypeInfo<T> type, string remedy)
        where T : class
    {
        try
        {
            return Parse(File.ReadAllBytes(path), type);
        }
        catch (JsonException problem)
        {
            throw new DamagedFileException(path, problem.Message, remedy, problem);
        }
    }

    /// <summary>Reads <paramref name="json"/>.</summary>
    /// <exception cref="JsonException">It is not what <paramref name="type"/> says, or a list in it has null for an element.</exception>
    public static T Parse<T>(ReadOnlySpan<byte> json, JsonTypeInfo<T> type)
        where T : class
    {
        var value = JsonSerializer.Deserialize(json, type) ?? throw new JsonException("it is null");
        Utf8JsonReader reader = new(json);
        for (var before = JsonTokenType.None; reader.Read(); before = reader.TokenType)
        {
            if (reader.TokenType == JsonTokenType.Null && before != JsonTokenType.PropertyName)
                throw new JsonException($"the element at byte {reader.TokenStartIndex} is null");
        }
        return value;
    }
}
